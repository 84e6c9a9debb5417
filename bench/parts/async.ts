import { setTimeout as sleep } from 'node:timers/promises';
import { artifactKeys } from '@pilum/core/redis/keys.ts';
import { parseStats, statsField } from '@pilum/core/store/stats.ts';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { ratioRow } from '../report/row.ts';
import { type Bench, call, inTurn, type Part } from '../support/bench.ts';
import type { Scope } from '../support/scope.ts';
import { startFloor } from '../targets/floors.ts';
import type { Pilum } from '../targets/pilum.ts';
import type { Target } from '../targets/target.ts';
import { startEchoPilum } from './echo.ts';

const CONNECTIONS = 64;
/** Tasks of a sample for each ms that a sample is to take: accepting them takes about that long. */
const TASKS_PER_MS = 5;
const LOOK_MS = 10;
/** A queue that has not come to its end after this long never will, ms. */
const DRAIN_MS = 120_000;

export interface Taken {
  readonly acceptedPerS: number;
  /** From the first answer until all are on record; NaN where there is no queue. */
  readonly completedPerS: number;
}

/** A queue's own count of what it has on record as completed. */
export type CountCompleted = () => Promise<number>;

/** Calls that nobody waits for: how fast they are accepted, and how fast they are done. */
export const async: Part = {
  name: 'async',
  run: async (bench) => {
    const ours = await startEchoPilum(bench.scope);
    // The backlog of a sample must not be refused.
    await ours.call('PATCH', '/v1/artifacts/echo/settings', { maxBacklog: 10_000_000, maxBacklogMiB: 100_000 });
    const pilum = ours.target('echo', { mode: 'async' });
    const bullmq = await startFloor(bench.scope, 'bullmq, async');
    const http = await startFloor(bench.scope, 'fastify-echo');
    const counts = new Map<Target, CountCompleted>([
      [pilum, completedOfPilum(bench.scope, ours)],
      [bullmq, completedOfBullmq(bench.scope, bullmq.redis?.path ?? '')],
    ]);
    const take = async (target: Target): Promise<Taken> => {
      const count = counts.get(target);
      if (count !== undefined) return await takeTasks(bench, target, count, bench.sampleMs * TASKS_PER_MS);
      const { callsPerS } = await call(bench, target, { connections: CONNECTIONS });
      return { acceptedPerS: callsPerS, completedPerS: Number.NaN };
    };
    const targets = [pilum, bullmq, http];
    for (const [target, count] of counts) await takeTasks(bench, target, count, bench.sampleMs);
    const taken = await inTurn(
      bench,
      targets,
      take,
      ({ acceptedPerS, completedPerS }) =>
        `${acceptedPerS.toFixed(0)} accepted/s${Number.isNaN(completedPerS) ? '' : `, ${completedPerS.toFixed(0)} completed/s`}`,
    );
    const accepted = (target: Target) => taken(target).map(({ acceptedPerS }) => acceptedPerS);
    const completed = (target: Target) => taken(target).map(({ completedPerS }) => completedPerS);
    return [
      ratioRow({
        measure: 'async accepted/s, 64 connections',
        over: http.name,
        unit: '/s',
        pilum: accepted(pilum),
        floor: accepted(http),
        goal: { atLeast: 0.45 },
      }),
      ratioRow({
        measure: 'async accepted/s, 64 connections',
        over: bullmq.name,
        unit: '/s',
        pilum: accepted(pilum),
        floor: accepted(bullmq),
      }),
      ratioRow({
        measure: 'async completed/s, from the first accepted to the last recorded',
        over: bullmq.name,
        unit: '/s',
        pilum: completed(pilum),
        floor: completed(bullmq),
        goal: { atLeast: 0.75 },
      }),
    ];
  },
};

/** Adds so many tasks and waits until all are completed: the next sample begins with an empty queue. */
export async function takeTasks(bench: Bench, target: Target, count: CountCompleted, tasks: number): Promise<Taken> {
  const before = await count();
  const { callsPerS, firstAnswerAtMs } = await call(bench, target, {
    connections: CONNECTIONS,
    until: { calls: tasks },
  });
  const deadline = Date.now() + DRAIN_MS;
  for (;;) {
    const done = (await count()) - before;
    const now = performance.timeOrigin + performance.now();
    if (done >= tasks) return { acceptedPerS: callsPerS, completedPerS: (tasks / (now - firstAnswerAtMs)) * 1000 };
    if (now > deadline) throw new Error(`${target.name}: only ${done} of ${tasks} tasks were completed`);
    await sleep(LOOK_MS);
  }
}

/** The counter that the script increments which records an outcome: retention does not touch it. */
export function completedOfPilum(scope: Scope, { redis: { path } }: Pilum): CountCompleted {
  const redis = new Redis({ path });
  void scope.add('process', async () => redis.disconnect());
  const { stats } = artifactKeys({ namespace: 'default', artifactId: 'echo' });
  return async () => parseStats(await redis.hgetBuffer(stats, statsField('completed'))).settled;
}

/** All that were ever added, less those that still wait or run: BullMQ keeps only the newest of those that are done. */
function completedOfBullmq(scope: Scope, path: string): CountCompleted {
  const connection = new Redis({ path, maxRetriesPerRequest: null });
  const queue = new Queue('async', { connection });
  void scope.add('process', async () => {
    await queue.close();
    connection.disconnect();
  });
  return async () => {
    const [{ waiting = 0, active = 0, failed = 0 }, added] = await Promise.all([
      queue.getJobCounts('waiting', 'active', 'failed'),
      connection.get(queue.toKey('id')),
    ]);
    if (failed > 0) throw new Error(`${failed} jobs of BullMQ failed`);
    return Number(added ?? 0) - waiting - active;
  };
}
