import { parseHandOver } from '@pilum/core/queue/held-job.ts';
import type { TaskQueue } from '@pilum/core/queue/task-queue.ts';
import { TaskQueues } from '@pilum/core/queue/task-queues.ts';
import { connect, type Redis } from '@pilum/core/redis/connect.ts';
import { artifactKeys, CHANNEL_WORK } from '@pilum/core/redis/keys.ts';
import { TaskStore } from '@pilum/core/store/task-store.ts';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { accept, end, outcomeFor, ticketFor } from '../support/tasks.ts';
import { WorkerProcess } from '../support/worker-process.ts';

let server: TestRedis;
let redis: Redis;
let queues: TaskQueues;
let queue: TaskQueue;
let tasks: TaskStore;
let worker: WorkerProcess;

const keys = artifactKeys({ namespace: 'default', artifactId: 'hello' });
const keyOf = (name: string) => `${keys.queuePrefix}:queue:${name}`;

const kept = keep();
beforeAll(async () => {
  server = kept.add(await startRedis());
  redis = kept.add(connect({ url: server.url, name: 'test' }, () => undefined));
  queues = kept.add(new TaskQueues(redis));
  tasks = new TaskStore(redis, { ageS: 100, count: 100, framesAgeS: 100 });
});
beforeEach(async () => {
  await redis.flushall();
  queue = queues.of({ namespace: 'default', artifactId: 'hello' });
  worker = await WorkerProcess.start(server.url);
  return async () => await worker.die();
});

const offer = (by = worker) => by.offer(queue, tasks, 'hello');
const offers = () => redis.lrange(keys.offers, 0, -1);
const activeIds = () => redis.lrange(keyOf('active'), 0, -1);

async function acceptNew(changes: Parameters<typeof ticketFor>[1] = {}) {
  const ticket = ticketFor('hello', changes);
  await accept(queue, ticket);
  return ticket;
}

/** As the housekeeper does it in two rounds, after locks have run out. */
async function recoverStalled(): Promise<string[]> {
  const recovered: string[] = [];
  for (let round = 0; round < 2; round++) {
    await redis.del(keyOf('stalled-check'));
    recovered.push(...(await queue.recoverStalled()));
  }
  return recovered;
}

/** Runs something, and says whose work was announced meanwhile. */
async function announcedDuring(run: () => Promise<void>): Promise<string[]> {
  const listener = connect({ url: server.url, name: 'listener' }, () => undefined);
  const heard: string[] = [];
  listener.on('message', (_channel: string, message: string) => heard.push(message));
  await listener.subscribe(CHANNEL_WORK);
  await run();
  await listener.ping();
  listener.disconnect();
  return heard;
}

describe('an offered slot', () => {
  it('is given the next task as it is accepted', async () => {
    const token = await offer();
    const ticket = await acceptNew();
    const job = await worker.handedFor(queue, token);
    expect(job).toMatchObject({ ticket, token, stalls: 0, handovers: 1 });
    expect(parseHandOver(worker.messages[0] ?? '').qualified).toBe('default/hello');
    expect(await activeIds()).toEqual([ticket.taskId]);
    expect(await redis.get(job.lockKey)).toBe(token);
    expect(await redis.pttl(job.lockKey)).toBeGreaterThan(3000);
    expect(await queue.counts()).toEqual({ waiting: 0, active: 1, delayed: 0 });
    expect(await queue.read(ticket.taskId)).toEqual({ ticket, state: 'running', startedAtMs: ticket.acceptedAtMs });
    expect(await offers()).toEqual([]);
    expect((await queue.fetch(worker.tokens.next(), 'other')).job).toBeNull();
    expect(await end(queue, tasks, job, outcomeFor(ticket, { status: 'completed' }))).toMatchObject({
      wasOurs: true,
      standing: null,
    });
    expect(await queue.counts()).toEqual({ waiting: 0, active: 0, delayed: 0 });
  });

  it('is given a task with a large payload, which lies beside it', async () => {
    const token = await offer();
    const ticket = ticketFor('hello', { payload: { encoding: 'beside', sizeBytes: 3 } });
    await accept(queue, ticket, Buffer.from('abc'));
    const job = await worker.handedFor(queue, token);
    expect(await tasks.payload(job.ticket)).toEqual(Buffer.from('abc'));
  });

  it('is taken before those that were offered earlier', async () => {
    // Three at once: an offer is made only where nothing is in line.
    const jobs = [];
    for (let i = 0; i < 3; i++) {
      await acceptNew();
      jobs.push((await queue.fetch(worker.tokens.next(), 'worker')).job!);
    }
    const tokens = [];
    for (const job of jobs) tokens.push((await worker.endAndOffer(queue, tasks, job)).token);
    expect(await offers()).toEqual(tokens);
    const ticket = await acceptNew();
    expect((await worker.handedFor(queue, tokens[2] ?? '')).ticket).toEqual(ticket);
    expect(await offers()).toEqual(tokens.slice(0, 2));
  });

  it('is passed over where its process does not hear, and the next one is taken', async () => {
    const alive = await offer();
    await redis.rpush(keys.offers, 'worker~gone:1', 'worker~gone:2');
    const ticket = await acceptNew();
    expect((await worker.handedFor(queue, alive)).ticket).toEqual(ticket);
    expect(await offers()).toEqual([]);
  });

  it('is nobody’s where no process hears: the task stands in line and is announced', async () => {
    await offer();
    await worker.die();
    worker = await WorkerProcess.start(server.url);
    let taskId = '';
    expect(
      await announcedDuring(async () => {
        taskId = (await acceptNew()).taskId;
      }),
    ).toEqual(['default/hello']);
    expect(await offers()).toEqual([]);
    expect((await queue.read(taskId))?.state).toBe('pending');
    expect((await queue.fetch(worker.tokens.next(), 'worker')).job?.ticket.taskId).toBe(taskId);
  });

  it('is not made where a task waits: that one is taken', async () => {
    await acceptNew();
    const { job } = await queue.fetch(worker.tokens.next(), 'worker');
    const second = await acceptNew();
    const ended = await worker.endAndOffer(queue, tasks, job!);
    expect(ended).toMatchObject({ offered: false, job: { token: ended.token, ticket: second } });
    expect(await offers()).toEqual([]);
  });

  it.each<[string, () => Promise<void>]>([
    [
      'others are ahead',
      async () => {
        // One that its worker gave back stands in line although a slot is offered.
        await acceptNew();
        const { job } = await queue.fetch(worker.tokens.next(), 'worker');
        await offer();
        await queue.giveBack(job!);
      },
    ],
    [
      'the queue is paused',
      async () => {
        await offer();
        await queue.setPaused(true);
      },
    ],
    [
      'as many run as may',
      async () => {
        await acceptNew();
        await queue.fetch(worker.tokens.next(), 'worker');
        await offer();
        await queue.setMaxConcurrency(1);
      },
    ],
  ])('gets nothing while %s, and stands', async (_, arrange) => {
    await arrange();
    const standing = await offers();
    expect(standing).toHaveLength(1);
    const { taskId } = await acceptNew();
    expect((await queue.read(taskId))?.state).toBe('pending');
    expect(await offers()).toEqual(standing);
    await worker.heardAll();
    expect(worker.messages).toEqual([]);
  });

  it('gets no task that is due later', async () => {
    const token = await offer();
    const { taskId } = await acceptNew({ dueAtMs: Date.now() + 60_000 });
    expect((await queue.read(taskId))?.state).toBe('pending');
    expect(await queue.counts()).toMatchObject({ delayed: 1, active: 0 });
    expect(await offers()).toEqual([token]);
    const next = await acceptNew();
    expect((await worker.handedFor(queue, token)).ticket).toEqual(next);
  });

  it('is not made while the queue is paused, or as many run as may', async () => {
    await acceptNew();
    const first = (await queue.fetch(worker.tokens.next(), 'worker')).job!;
    await queue.setPaused(true);
    expect(await worker.endAndOffer(queue, tasks, first)).toMatchObject({ offered: false, job: null });
    await queue.setPaused(false);
    await acceptNew();
    await acceptNew();
    const second = (await queue.fetch(worker.tokens.next(), 'worker')).job!;
    await queue.fetch(worker.tokens.next(), 'worker');
    await queue.setMaxConcurrency(1);
    expect(await worker.endAndOffer(queue, tasks, second)).toMatchObject({ offered: false, job: null });
    expect(await offers()).toEqual([]);
  });

  it('is one of so many at most: the oldest go', async () => {
    await acceptNew();
    const { job } = await queue.fetch(worker.tokens.next(), 'worker');
    await redis.rpush(keys.offers, ...Array.from({ length: 10_000 }, (_, i) => `worker~gone:${i}`));
    const { token } = await worker.endAndOffer(queue, tasks, job!);
    expect(await redis.llen(keys.offers)).toBe(10_000);
    expect(await redis.lindex(keys.offers, 0)).toBe('worker~gone:1');
    expect(await redis.lindex(keys.offers, -1)).toBe(token);
  });
});

describe('recalling offers', () => {
  it('says of each whether it was taken back, taken for a task, or is not known', async () => {
    const jobs = [];
    for (let i = 0; i < 2; i++) {
      await acceptNew();
      jobs.push((await queue.fetch(worker.tokens.next(), 'worker')).job!);
    }
    const tokens = [];
    for (const job of jobs) tokens.push((await worker.endAndOffer(queue, tasks, job)).token);
    const ticket = await acceptNew();
    const [standing, taken] = tokens as [string, string];
    const answers = await queue.recall([taken, 'worker~gone:1', standing]);
    expect(answers).toEqual([expect.objectContaining({ ticket, token: taken, handovers: 1 }), 'unknown', 'recalled']);
    expect(answers[0]).toEqual(await worker.handedFor(queue, taken));
    expect(await queue.recall([standing])).toEqual(['unknown']);
    expect(await offers()).toEqual([]);
  });
});

describe('a job that was handed over', () => {
  it('is recovered like any other where its message was lost', async () => {
    const token = await offer();
    const ticket = await acceptNew();
    await redis.del(`${keyOf(ticket.taskId)}:lock`); // nobody renews it
    expect(await queue.recall([token])).toEqual(['unknown']);
    expect(await recoverStalled()).toEqual([ticket.taskId]);
    const { job } = await queue.fetch(worker.tokens.next(), 'other');
    expect(job).toMatchObject({ ticket, stalls: 1, handovers: 2 });
    // The message comes after all.
    const late = await worker.handedFor(queue, token);
    await expect(queue.giveBack(late)).rejects.toThrow();
    expect(await redis.get(late.lockKey)).toBe(job?.token);
    expect(await queue.counts()).toMatchObject({ waiting: 0, active: 1 });
  });

  it('is given back to the line, first among its equals, and announced', async () => {
    const token = await offer();
    const ticket = await acceptNew();
    const job = await worker.handedFor(queue, token);
    await acceptNew();
    expect(await announcedDuring(() => queue.giveBack(job))).toEqual(['default/hello']);
    expect((await queue.fetch(worker.tokens.next(), 'other')).job).toMatchObject({ ticket, handovers: 2, stalls: 0 });
  });

  it('says since when it may have been held', async () => {
    const acceptedAtMs = Date.now() - 7000;
    const token = await offer();
    await acceptNew({ acceptedAtMs, dueAtMs: acceptedAtMs });
    expect((await worker.handedFor(queue, token)).takenAtMs).toBe(acceptedAtMs);
    await acceptNew({ acceptedAtMs, dueAtMs: acceptedAtMs });
    const fetched = (await queue.fetch(worker.tokens.next(), 'worker')).job!;
    expect(fetched.takenAtMs).toBeGreaterThan(acceptedAtMs);
  });

  it('is not handed over again where its acceptance is sent again', async () => {
    const first = await offer();
    const ticket = await acceptNew();
    const second = await offer();
    await accept(queue, ticket);
    expect(await offers()).toEqual([second]);
    await worker.heardAll();
    expect(worker.messages.map((message) => parseHandOver(message).token)).toEqual([first]);
  });
});

describe('the end of a task that is sent again, because its answer was lost', () => {
  async function running() {
    await acceptNew();
    const job = (await queue.fetch(worker.tokens.next(), 'worker')).job!;
    const settlement = tasks.settlement(job.ticket, outcomeFor(job.ticket, { status: 'completed' }));
    const next = { token: worker.tokens.next(), workerId: 'worker', offer: true };
    return { next, end: () => queue.end(job, { settlement, failure: null, next }) };
  }

  it('takes no second job, and finds the first', async () => {
    const { next, end } = await running();
    const [first, second] = [await acceptNew(), await acceptNew()];
    expect(await end()).toMatchObject({ wasOurs: true, job: { ticket: first } });
    expect(await end()).toMatchObject({ wasOurs: false, offered: false, job: { ticket: first, token: next.token } });
    expect(await activeIds()).toEqual([first.taskId]);
    expect((await queue.read(second.taskId))?.state).toBe('pending');
    expect((await tasks.stats({ namespace: 'default', artifactId: 'hello' })).settled.completed).toBe(1);
  });

  it('makes no second offer, and takes the first back', async () => {
    const { end } = await running();
    expect(await end()).toMatchObject({ wasOurs: true, offered: true });
    expect(await end()).toMatchObject({ wasOurs: false, offered: false, job: null });
    expect(await offers()).toEqual([]);
  });

  it('finds the job that its offer was taken for meanwhile', async () => {
    const { next, end } = await running();
    expect(await end()).toMatchObject({ offered: true });
    const ticket = await acceptNew();
    expect(await end()).toMatchObject({ wasOurs: false, offered: false, job: { ticket, token: next.token } });
    expect(await worker.handedFor(queue, next.token)).toMatchObject({ ticket });
    expect(await offers()).toEqual([]);
    expect(await activeIds()).toEqual([ticket.taskId]);
  });
});

describe('a fetch that is sent again, because its answer was lost', () => {
  it.each([1, 2])('keeps one job, where %i are in line', async (count) => {
    for (let i = 0; i < count; i++) await acceptNew();
    const id = await redis.client('ID');
    const other = connect({ url: server.url, name: 'other' }, () => undefined);
    await other.ping();
    const nextTurn = () => new Promise((resolve) => setImmediate(resolve));
    // Both commands lie there when Redis goes on: it carries out the first, and before it answers the second.
    process.kill(server.pid ?? 0, 'SIGSTOP');
    const fetching = queue.fetch(worker.tokens.next(), 'worker');
    for (let turn = 0; turn < 3; turn++) await nextTurn();
    const killing = other.client('KILL', 'ID', String(id));
    for (let turn = 0; turn < 3; turn++) await nextTurn();
    process.kill(server.pid ?? 0, 'SIGCONT');
    await killing;
    const { job } = await fetching;
    expect(await activeIds()).toEqual([job?.ticket.taskId]);
    expect(await queue.counts()).toMatchObject({ waiting: count - 1, active: 1 });
    other.disconnect();
  });
});

describe('the workers', () => {
  it('are told of what waits where a slot goes elsewhere, and the limit of the queue held it back', async () => {
    await queue.setMaxConcurrency(1);
    await acceptNew();
    const first = (await queue.fetch(worker.tokens.next(), 'worker')).job!;
    await acceptNew();
    expect((await queue.fetch(worker.tokens.next(), 'other')).job).toBeNull();
    const outcome = outcomeFor(first.ticket, { status: 'completed' });
    expect(await announcedDuring(async () => void (await end(queue, tasks, first, outcome)))).toEqual([
      'default/hello',
    ]);
    const second = (await queue.fetch(worker.tokens.next(), 'other')).job!;
    await acceptNew();
    expect(await announcedDuring(async () => void (await worker.endAndOffer(queue, tasks, second)))).toEqual([]);
  });

  it('are told of a task only where none was in line before it, or it is due later', async () => {
    const later = { dueAtMs: Date.now() + 60_000 };
    expect(await announcedDuring(async () => void (await acceptNew()))).toEqual(['default/hello']);
    expect(await announcedDuring(async () => void (await acceptNew()))).toEqual([]);
    expect(await announcedDuring(async () => void (await acceptNew(later)))).toEqual(['default/hello']);
    for (let i = 0; i < 2; i++) await queue.fetch(worker.tokens.next(), 'worker');
    expect(await announcedDuring(async () => void (await acceptNew()))).toEqual(['default/hello']);
  });

  it('are not told of a task that is handed over', async () => {
    await offer();
    expect(await announcedDuring(async () => void (await acceptNew()))).toEqual([]);
  });
});
