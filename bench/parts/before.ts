import { ratioRow } from '../report/row.ts';
import { type Bench, call, type Part, warmUp } from '../support/bench.ts';
import { ECHO } from '../support/functions.ts';
import type { Scope } from '../support/scope.ts';
import { median } from '../support/statistics.ts';
import { undisturbed } from '../support/undisturbed.ts';
import { OWN_ROOT, type Pilum } from '../targets/pilum.ts';
import { completedOfPilum, takeTasks } from './async.ts';
import { microsecondsOfACall } from './cpu.ts';
import { startEchoPilum } from './echo.ts';

/** Samples of each measure in one start of both checkouts; their median counts. */
const SAMPLES = 3;
/** Cold starts of one sample, and the pause before each, ms: the instance of the one before is gone by then. */
const STARTS = 8;
const PAUSE_MS = 250;
/** Part by which a change may make a figure worse. */
const TOLERANCE = 0.03;

/** One checkout, started with its own Redis. */
interface Side {
  readonly name: string;
  readonly pilum: Pilum;
  readonly take: ReadonlyMap<Measure, () => Promise<number>>;
}

interface Measure {
  readonly name: string;
  readonly unit: string;
  readonly isBetter: 'lower' | 'higher';
  /** Prepares one side, and returns what takes a sample of it. */
  prepare(bench: Bench, pilum: Pilum, scope: Scope): Promise<() => Promise<number>>;
}

const MEASURES: readonly Measure[] = [
  {
    name: 'warm sync call: p50, 1 in flight',
    unit: 'ms',
    isBetter: 'lower',
    prepare: async (bench, pilum) => {
      const target = pilum.target('echo');
      return async () => (await call(bench, target, { connections: 1 })).p50Ms;
    },
  },
  {
    name: 'warm sync calls/s, 64 connections',
    unit: '/s',
    isBetter: 'higher',
    prepare: async (bench, pilum) => {
      const target = pilum.target('echo');
      return async () => (await call(bench, target, { connections: 64 })).callsPerS;
    },
  },
  {
    name: 'CPU of a warm sync call, 16 connections',
    unit: 'µs',
    isBetter: 'lower',
    prepare: async (bench, pilum) => {
      const target = pilum.target('echo');
      return () => microsecondsOfACall(bench, target);
    },
  },
  {
    name: 'cold sync call of a Node handler: p50',
    unit: 'ms',
    isBetter: 'lower',
    prepare: async (bench, pilum) => {
      await pilum.deploy('cold', ECHO, { idleTimeoutMs: 0 });
      const target = pilum.target('cold');
      const calls = { connections: 1, until: { calls: STARTS }, everyMs: PAUSE_MS };
      return async () => (await call(bench, target, calls)).p50Ms;
    },
  },
  {
    name: 'async completed/s, from the first accepted to the last recorded',
    unit: '/s',
    isBetter: 'higher',
    prepare: async (bench, pilum, scope) => {
      await pilum.call('PATCH', '/v1/artifacts/echo/settings', { maxBacklog: 10_000_000, maxBacklogMiB: 100_000 });
      const count = completedOfPilum(scope, pilum);
      const target = pilum.target('echo', { mode: 'async' });
      return async () => (await takeTasks(bench, target, count, bench.sampleMs * 2)).completedPerS;
    },
  },
];

/**
 * Makes the part that compares this checkout with another, such as the commit before a change. Both are started anew for each
 * repeat, now the one first and now the other: how a process lies in memory moves its figures by some percent from one start to the
 * next, and a single start of each would show that as a difference between them.
 * @param directory the other checkout, with its packages installed
 */
export const beforePart = (directory: string): Part => ({
  name: 'before',
  run: async (bench) => {
    const figures = new Map(MEASURES.map((measure) => [measure, { ours: [] as number[], theirs: [] as number[] }]));
    for (let repeat = 0; repeat < bench.repeats; repeat++) {
      await bench.scope.nested(async (scope) => {
        const start = (name: string, root: string) => startSide(bench, scope, name, root);
        const order = [() => start('this', OWN_ROOT), () => start('before', directory)];
        if (repeat % 2 === 1) order.reverse();
        const sides: Side[] = [];
        for (const startNext of order) sides.push(await startNext());
        for (const measure of MEASURES) {
          const taken = await takeInTurn(sides, measure);
          figures.get(measure)?.ours.push(taken.get('this') ?? Number.NaN);
          figures.get(measure)?.theirs.push(taken.get('before') ?? Number.NaN);
        }
      });
    }
    return MEASURES.map((measure) => {
      const { ours = [], theirs = [] } = figures.get(measure) ?? {};
      const { name, unit, isBetter } = measure;
      const goal = isBetter === 'lower' ? { atMost: 1 + TOLERANCE } : { atLeast: 1 - TOLERANCE };
      return ratioRow({ measure: name, over: 'the checkout before', unit, pilum: ours, floor: theirs, goal });
    });
  },
});

async function startSide(bench: Bench, scope: Scope, name: string, root: string): Promise<Side> {
  const pilum = await startEchoPilum(scope, { root });
  await warmUp(bench, [pilum.target('echo')], { connections: 16 });
  const take = new Map<Measure, () => Promise<number>>();
  for (const measure of MEASURES) take.set(measure, await measure.prepare(bench, pilum, scope));
  return { name, pilum, take };
}

/** Takes the samples of one measure, of both sides in turn, and returns the median of each side. */
async function takeInTurn(sides: readonly Side[], measure: Measure): Promise<ReadonlyMap<string, number>> {
  const taken = new Map(sides.map(({ name }) => [name, [] as number[]]));
  for (let sample = 0; sample < SAMPLES; sample++) {
    for (const { name, take } of sample % 2 === 0 ? sides : sides.toReversed()) {
      taken.get(name)?.push(await undisturbed(take.get(measure) ?? (async () => Number.NaN)));
    }
  }
  const medians = new Map([...taken].map(([name, values]) => [name, median(values)]));
  const shown = [...medians].map(([name, value]) => `${name} ${value.toPrecision(4)} ${measure.unit}`);
  console.error(`  ${measure.name.padEnd(64)} ${shown.sort().join('  ')}`);
  return medians;
}
