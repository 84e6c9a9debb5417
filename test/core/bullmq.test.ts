// What ours and BullMQ's scripts know of each other.
import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import { TaskQueues } from '@pilum/core/queue/task-queues.ts';
import { connect, type Redis } from '@pilum/core/redis/connect.ts';
import { artifactKeys, QUEUE_NAME } from '@pilum/core/redis/keys.ts';
import { TaskStore } from '@pilum/core/store/task-store.ts';
import { Queue } from 'bullmq';
import { beforeAll, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { accept, end, outcomeFor, ticketFor } from '../support/tasks.ts';
import { WorkerProcess } from '../support/worker-process.ts';

/** BullMQ's scripts that `packages/core/src/queue` does the work of, or goes on with what they have written. */
const KNOWN: Readonly<Record<string, string>> = {
  'addPrioritizedJob-9': 'd4652d1be004a3d7',
  'addDelayedJob-6': 'e47c0db3c46bd84a',
  'moveToActive-11': '7d35069db0b831af',
  'moveToFinished-14': '8e744ec5d65dbe9e',
  'moveStalledJobsToWait-9': 'dad86d89b50d825f',
  'moveJobFromActiveToWait-9': 'ac9546cdd23294a2',
  'moveToDelayed-11': '1a7b9311ef92fd66',
  'removeJob-2': 'f2acb16fda20ccac',
  'pause-7': 'da797a84855a762e',
  'getCounts-1': '9da2811661fab0b0',
};

describe('BullMQ', () => {
  it.each(Object.entries(KNOWN))('has the script %s that ours were written against', (name, digest) => {
    const require = createRequire(createRequire(import.meta.url).resolve('bullmq'));
    const [script] = Object.values(require(`./scripts/${name}.js`) as Record<string, { content: string }>);
    const found = createHash('sha256')
      .update(script?.content ?? '')
      .digest('hex')
      .slice(0, 16);
    expect(
      found,
      `${name} of BullMQ has changed. Read what has changed in it, adapt packages/core/src/queue where the jobs that ` +
        `either writes would differ, and then set its digest here to '${found}'`,
    ).toBe(digest);
  });
});

describe('a job that our scripts move', () => {
  let server: TestRedis;
  let redis: Redis;
  let queues: TaskQueues;
  let bull: Queue;
  const kept = keep();
  beforeAll(async () => {
    server = kept.add(await startRedis());
    redis = kept.add(connect({ url: server.url, name: 'test' }, () => undefined));
    queues = kept.add(new TaskQueues(redis));
    bull = kept.add(
      new Queue(QUEUE_NAME, {
        connection: redis,
        prefix: artifactKeys({ namespace: 'default', artifactId: 'hello' }).queuePrefix,
      }),
    );
  });

  const countsOf = async () => await bull.getJobCounts('prioritized', 'delayed', 'active', 'completed', 'failed');

  it('is to BullMQ what it would be had its own scripts moved it', async () => {
    const queue = queues.of({ namespace: 'default', artifactId: 'hello' });
    const tasks = new TaskStore(redis, { ageS: 100, count: 100, framesAgeS: 100 });
    const worker = await WorkerProcess.start(server.url);
    const token = await worker.offer(queue, tasks, 'hello');
    expect(await countsOf()).toEqual({ prioritized: 0, delayed: 0, active: 0, completed: 0, failed: 0 });

    const [handed, waiting, delayed] = [0, 0, 60_000].map((delay) =>
      ticketFor('hello', { dueAtMs: Date.now() + delay }),
    );
    for (const ticket of [handed, waiting, delayed]) await accept(queue, ticket!);
    expect(await countsOf()).toEqual({ prioritized: 1, delayed: 1, active: 1, completed: 0, failed: 0 });
    const [active] = await bull.getActive();
    expect(active).toMatchObject({
      id: handed?.taskId,
      name: 'task',
      data: handed,
      priority: 6,
      delay: 0,
      processedOn: handed?.acceptedAtMs,
      processedBy: worker.tokens.workerProcess,
      attemptsStarted: 1,
      attemptsMade: 0,
    });
    expect(await active?.getState()).toBe('active');
    await expect(active?.remove()).rejects.toThrow(/locked/);
    expect(await queue.remove(handed!.taskId)).toBe(false);

    const job = await worker.handedFor(queue, token);
    const failure = outcomeFor(handed!, { status: 'failed' });
    await end(queue, tasks, job, failure);
    const failed = await bull.getJob(handed!.taskId);
    expect(failed).toMatchObject({ failedReason: 'failed', attemptsMade: 1 });
    expect(failed?.finishedOn).toBeGreaterThanOrEqual(handed!.acceptedAtMs);
    expect(await failed?.getState()).toBe('failed');
    expect(failed?.data.payload).toEqual({ encoding: 'redacted', sizeBytes: 7 });

    await bull.getJob(delayed!.taskId).then((one) => one?.promote());
    expect(await countsOf()).toEqual({ prioritized: 2, delayed: 0, active: 0, completed: 0, failed: 1 });
    const begun = [];
    for (let i = 0; i < 2; i++) begun.push((await queue.fetch(worker.tokens.next(), 'worker')).job);
    expect(begun.map((one) => one?.ticket.taskId)).toEqual([waiting?.taskId, delayed?.taskId]);
    await worker.die();
  });
});
