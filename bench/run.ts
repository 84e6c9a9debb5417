/**
 * `npm run bench`: what a warm sync call costs, next to floors that do less. Every figure is a ratio of samples taken
 * side by side in one interleaved run: median and range over the repeats. Both sides go through HTTP, with processes of
 * their own for API, worker, Redis (append-only file, fsync every second) and load.
 */
import { execFileSync } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { load, type Sample, type Target } from './support/load.ts';
import { startTargets } from './support/targets.ts';

const REPEATS = 5;
const SAMPLE_MS = 3000;
const WARM_UP_MS = 1500;
/** A sample during which the host took more than this share of the processor is taken again, a few times. */
const MAX_STOLEN = 0.06;
const BODY = JSON.stringify({ name: 'x'.repeat(88) });

interface Row {
  readonly measure: string;
  readonly connections: number;
  readonly over: string;
  readonly figure: (sample: Sample) => number;
}

const rows: Row[] = ['fastify-echo', 'redis-list', 'bullmq'].flatMap((over) => [
  { measure: 'warm sync p50, 1 in flight', connections: 1, over, figure: (sample: Sample) => sample.p50Ms },
  { measure: 'warm sync calls/s, 64 connections', connections: 64, over, figure: (sample: Sample) => sample.callsPerS },
]);

async function sample(target: Target, connections: number): Promise<Sample> {
  for (let tries = 0; ; tries++) {
    const taken = await load(target, { connections, forMs: SAMPLE_MS, body: BODY });
    if (taken.stolen <= MAX_STOLEN || tries === 3) return taken;
    console.error(`  (again: the host took ${(taken.stolen * 100).toFixed(0)} % of the processor)`);
  }
}

const median = (values: number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
const show = (value: number) => value.toPrecision(3);

const { targets, stop } = await startTargets();
try {
  const samples = new Map<string, Sample[]>();
  for (const connections of [1, 64]) {
    for (const target of targets) await load(target, { connections, forMs: WARM_UP_MS, body: BODY });
    for (let repeat = 0; repeat < REPEATS; repeat++) {
      for (const target of targets) {
        const taken = await sample(target, connections);
        const key = `${target.name} ${connections}`;
        samples.set(key, [...(samples.get(key) ?? []), taken]);
        console.error(
          `${target.name.padEnd(14)} ${String(connections).padStart(2)} connections  ${show(taken.callsPerS).padStart(8)} calls/s  p50 ${show(taken.p50Ms)} ms  p99 ${show(taken.p99Ms)} ms`,
        );
      }
    }
  }
  const of = (name: string, row: Row) => (samples.get(`${name} ${row.connections}`) ?? []).map(row.figure);
  const results = rows.map((row) => {
    const [ours, theirs] = [of('pilum', row), of(row.over, row)];
    const ratios = ours.map((value, i) => value / (theirs[i] ?? Number.NaN));
    return {
      measure: row.measure,
      over: row.over,
      ratio: median(ratios),
      lowest: Math.min(...ratios),
      highest: Math.max(...ratios),
      pilum: median(ours),
      floor: median(theirs),
    };
  });
  console.log('| measure | over | ratio | range | pilum | floor |\n|---|---|---|---|---|---|');
  for (const r of results) {
    console.log(
      `| ${r.measure} | ${r.over} | ${show(r.ratio)} | ${show(r.lowest)} to ${show(r.highest)} | ${show(r.pilum)} | ${show(r.floor)} |`,
    );
  }
  const git = (...args: string[]) => execFileSync('git', args, { encoding: 'utf8' }).trim();
  const report = {
    at: new Date().toISOString(),
    commit: git('rev-parse', 'HEAD') + (git('status', '--porcelain') === '' ? '' : ' (changed)'),
    machine: { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version },
    repeats: REPEATS,
    sampleMs: SAMPLE_MS,
    results,
  };
  await mkdir(new URL('./results/', import.meta.url), { recursive: true });
  await writeFile(new URL('./results/latest.json', import.meta.url), `${JSON.stringify(report, null, 2)}\n`);
} finally {
  await stop();
}
