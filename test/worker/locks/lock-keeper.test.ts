import { setTimeout as sleep } from 'node:timers/promises';
import type { HeldJob } from '@pilum/core/queue/held-job.ts';
import { LOCK_DURATION_MS } from '@pilum/core/queue/lock-times.ts';
import type { TaskQueue } from '@pilum/core/queue/task-queue.ts';
import { TaskQueues } from '@pilum/core/queue/task-queues.ts';
import { connect, type Redis } from '@pilum/core/redis/connect.ts';
import { pino } from 'pino';
import { test as base, beforeAll, type TestContext } from 'vitest';
import { LockKeeper } from '../../../apps/worker/src/locks/lock-keeper.ts';
import { keep } from '../../support/kept.ts';
import { startRedis, type TestRedis } from '../../support/redis.ts';
import { ticketFor } from '../../support/tasks.ts';
import { waitFor } from '../../support/wait-for.ts';

// Most of each is waiting.
const test = base.concurrent;

let server: TestRedis;
let redis: Redis;
let queues: TaskQueues;

const kept = keep();
beforeAll(async () => {
  server = kept.add(await startRedis());
  redis = kept.add(connect({ url: server.url, name: 'test' }, () => undefined));
  queues = kept.add(new TaskQueues(redis));
});

/** A keeper whose log can be read. */
function openKeeper(
  { onTestFinished }: TestContext,
  workerId: string,
  redisUrl: () => string = () => server.url,
): { keeper: LockKeeper; log: string[] } {
  const log: string[] = [];
  const keeper = new LockKeeper({
    get redisUrl() {
      return redisUrl();
    },
    workerId,
    logger: pino({ level: 'info' }, { write: (line: string) => void log.push(line) }),
  });
  keeper.open();
  onTestFinished(() => keeper.close());
  return { keeper, log };
}

/** The lock of a job as it is when a worker has just fetched it. */
async function lock(artifactId: string, token: string): Promise<{ queue: TaskQueue; job: HeldJob; key: string }> {
  const ticket = ticketFor(artifactId);
  const key = `{pilum:default:${artifactId}}:queue:${ticket.taskId}:lock`;
  await redis.set(key, token, 'PX', LOCK_DURATION_MS);
  const job = { ticket, token, stalls: 0, queueDeadlineMs: 0 } as HeldJob;
  return { queue: queues.of({ namespace: 'default', artifactId }), job, key };
}

/** Waits until a worker's thread is connected: what it is told before that, it does later, and a lock may have run out. */
async function connected(workerId: string): Promise<void> {
  const name = `name=pilum-worker-${workerId}-locks`;
  await waitFor(async () => ((await redis.client('LIST')) as string).includes(name), {
    what: `the thread of ${workerId}`,
  });
}

/** Waits until a lock has been renewed so often: each time what is left of it grows. */
async function renewals(key: string, times: number): Promise<void> {
  for (let seen = 0, before = await redis.pttl(key); seen < times; ) {
    const left = await redis.pttl(key);
    if (left === -2) throw new Error(`${key} has run out after ${seen} renewals`);
    if (left > before) seen++;
    before = left;
    await sleep(20);
  }
}

/** How many commands a worker's thread has sent, by the count that Redis keeps for its connection. */
async function commandsOf(workerId: string): Promise<number> {
  const clients = (await redis.client('LIST')) as string;
  const line = clients.split('\n').find((candidate) => candidate.includes(`name=pilum-worker-${workerId}-locks`));
  return Number(/tot-cmds=(\d+)/.exec(line ?? '')?.[1] ?? /cmd=evalsha/.test(line ?? ''));
}

test('a lock is renewed for as long as its job is held, and no longer', async (context) => {
  const { expect } = context;
  const { keeper, log } = openKeeper(context, 'holds');
  await connected('holds');
  const { queue, job, key } = await lock('holds', 't');
  keeper.add(queue, job);
  await renewals(key, 3);
  expect(await redis.get(key)).toBe('t');
  keeper.remove(queue, job);
  await waitFor(async () => (await redis.get(key)) === null, { what: 'the end of the lock' });
  expect(log).toEqual([]);
});

test('a job that ends at once is not spoken of', async (context) => {
  const { keeper } = openKeeper(context, 'short');
  await connected('short');
  for (let i = 0; i < 50; i++) {
    const { queue, job } = await lock('short', `t${i}`);
    keeper.add(queue, job);
    await sleep(20);
    keeper.remove(queue, job);
  }
  await sleep(2000);
  const before = await commandsOf('short');
  const { queue, job } = await lock('short', 'long');
  keeper.add(queue, job);
  await waitFor(async () => (await commandsOf('short')) > before, { what: 'the renewal of a job that does not end' });
});

test('a lock that was taken is said once and spoils no other, nor does a queue that is gone', async (context) => {
  const { expect } = context;
  const { keeper, log } = openKeeper(context, 'lost');
  await connected('lost');
  const [kept, taken, gone] = [await lock('kept', 'a'), await lock('kept', 'b'), await lock('gone', 'c')];
  for (const { queue, job } of [kept, taken, gone]) keeper.add(queue, job);
  await redis.set(taken.key, 'of another');
  await redis.del(gone.key);
  const told = () => log.map((line) => JSON.parse(line)).flatMap(({ taskIds }) => taskIds);
  await waitFor(() => told().length >= 2, { what: 'the word about two of them' });
  // Nothing is said again.
  await renewals(kept.key, 2);
  expect(await redis.get(kept.key)).toBe('a');
  expect(await redis.get(taken.key)).toBe('of another');
  expect(told().sort()).toEqual([gone.job.ticket.taskId, taken.job.ticket.taskId].sort());
});

test('where the thread cannot live the main loop says so and renews', async (context) => {
  const { expect } = context;
  const { keeper, log } = openKeeper(context, 'dies', () => 'no address');
  await waitFor(() => log.join().includes('the thread that renews locks has ended'), { what: 'the line' });
  const { queue, job, key } = await lock('dies', 't');
  keeper.add(queue, job);
  await renewals(key, 3);
  expect(await redis.get(key)).toBe('t');
  keeper.remove(queue, job);
});

test('where Redis does not answer the thread, the main loop says so and renews', async (context) => {
  const { expect } = context;
  const { keeper, log } = openKeeper(context, 'deaf', () => 'redis://127.0.0.1:1');
  // It is asked for something, which is not answered.
  const first = await lock('deaf', 'first');
  keeper.add(first.queue, first.job);
  await waitFor(() => log.join().includes('Redis does not answer the thread'), { what: 'the line' });
  const { queue, job, key } = await lock('deaf', 't');
  keeper.add(queue, job);
  await renewals(key, 3);
  expect(await redis.get(key)).toBe('t');
  keeper.remove(queue, job);
});

test('a thread that died is followed by another, which renews what is held', async (context) => {
  const { expect } = context;
  let starts = 0;
  const { keeper } = openKeeper(context, 'again', () => (++starts === 1 ? 'no address' : server.url));
  const { queue, job, key } = await lock('again', 't');
  keeper.add(queue, job);
  // Held until there is a thread again, whatever that takes on a machine that is busy with other things.
  await redis.persist(key);
  await waitFor(async () => (await commandsOf('again')) > 0, { what: 'the second thread' });
  await renewals(key, 3);
  expect(await redis.get(key)).toBe('t');
  keeper.remove(queue, job);
});

test('while Redis is away nothing piles up, and afterwards it goes on', async (context) => {
  const { expect } = context;
  const own = await startRedis();
  context.onTestFinished(() => own.close());
  const ours = connect({ url: own.url, name: 'own' }, () => undefined);
  context.onTestFinished(() => ours.disconnect());
  const { keeper, log } = openKeeper(context, 'away', () => own.url);
  const ownQueues = new TaskQueues(ours);
  context.onTestFinished(() => ownQueues.close());
  const { job, key } = await lock('away', 't');
  const queue = ownQueues.of({ namespace: 'default', artifactId: 'away' });
  await ours.set(key, 't');
  keeper.add(queue, job);
  const calls = async () => Number(/cmdstat_evalsha:calls=(\d+)/.exec(await ours.info('commandstats'))?.[1] ?? 0);
  await waitFor(async () => (await calls()) > 0, { what: 'the first renewal' });
  const before = await calls();
  // It answers nobody for longer than a lock lasts, and this one lasts: no renewal can come between the two.
  await ours.multi().persist(key).client('PAUSE', 7000).exec();
  await waitFor(async () => (await calls()) > before, { what: 'a renewal' });
  // Of the thread and of the main loop, which stands in for it: one that was on its way and one that is due, and not the
  // four or five of each that would have piled up.
  expect((await calls()) - before).toBeLessThanOrEqual(5);
  await waitFor(async () => (await ours.pttl(key)) > 0, { what: 'its effect' });
  keeper.remove(queue, job);
  expect(log.filter((line) => !line.includes('Redis does not answer'))).toEqual([]);
});
