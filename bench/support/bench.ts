import type { LoadProcess } from '../load/load-process.ts';
import type { LoadPlan, Sample } from '../load/plan.ts';
import type { Row } from '../report/row.ts';
import type { Target } from '../targets/target.ts';
import type { Scope } from './scope.ts';
import { undisturbed } from './undisturbed.ts';

/** The means that a part of the bench is given. */
export interface Bench {
  readonly repeats: number;
  readonly sampleMs: number;
  readonly load: LoadProcess;
  /** Scope of what the part starts, which ends with the part. */
  readonly scope: Scope;
}

/** One part of the bench: it starts what it needs and measures it. */
export interface Part {
  readonly name: string;
  run(bench: Bench): Promise<Row[]>;
}

/** The calls of a target. Where nothing is said: 100 bytes, at once, for the length of a sample, and they come back. */
export type Calls = Pick<LoadPlan, 'connections'> & Partial<Omit<LoadPlan, 'name' | 'url' | 'status'>>;

/** One load on one target. */
export async function call(bench: Bench, { name, url, status }: Target, calls: Calls): Promise<Sample> {
  return await bench.load.run({
    name,
    url,
    status,
    until: { forMs: bench.sampleMs },
    body: { bytes: 100 },
    isEcho: status === 200,
    everyMs: 0,
    ...calls,
  });
}

/** A sample of each that does not count: connections, compilers and pools are warm after it. */
export async function warmUp(bench: Bench, targets: readonly Target[], calls: Calls): Promise<void> {
  for (const target of targets) await call(bench, target, calls);
}

/** Takes a sample of each target in turn, and again, as often as there are repeats: what they share, they share alike. */
export async function inTurn<T>(
  bench: Bench,
  targets: readonly Target[],
  take: (target: Target) => Promise<T>,
  show: (taken: T) => string,
): Promise<(target: Target) => readonly T[]> {
  const taken = new Map<Target, T[]>(targets.map((target) => [target, []]));
  for (let repeat = 0; repeat < bench.repeats; repeat++) {
    for (const target of targets) {
      const sample = await undisturbed(() => take(target));
      taken.get(target)?.push(sample);
      console.error(`  ${target.name.padEnd(22)} ${show(sample)}`);
    }
  }
  return (target) => taken.get(target) ?? [];
}

/** As {@link inTurn}, after a warm-up, where a sample is one load. */
export async function loadInTurn(
  bench: Bench,
  targets: readonly Target[],
  calls: Calls,
): Promise<(target: Target) => readonly Sample[]> {
  await warmUp(bench, targets, calls);
  return await inTurn(bench, targets, (target) => call(bench, target, calls), showSample);
}

const showSample = ({ callsPerS, p50Ms, p99Ms }: Sample): string =>
  `${callsPerS.toFixed(0).padStart(7)} calls/s  p50 ${p50Ms.toPrecision(3)} ms  p99 ${p99Ms.toPrecision(3)} ms`;
