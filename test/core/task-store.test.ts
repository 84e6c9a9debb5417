import { TaskQueues } from '@pilum/core/queue/task-queues.ts';
import { connect, type Redis } from '@pilum/core/redis/connect.ts';
import { Subscriber } from '@pilum/core/redis/subscriber.ts';
import { ReplyInbox } from '@pilum/core/replies/reply-inbox.ts';
import { packLines } from '@pilum/core/store/output-store.ts';
import { TaskStore } from '@pilum/core/store/task-store.ts';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { accept, end, outcomeFor, ticketFor } from '../support/tasks.ts';

let server: TestRedis;
let redis: Redis;
const fail = (error: unknown) => {
  throw error;
};

const kept = keep();
beforeAll(async () => {
  server = kept.add(await startRedis());
  redis = kept.add(connect({ url: server.url, name: 'test' }, fail));
});
beforeEach(async () => {
  await redis.flushall();
});

describe('settling a task', () => {
  it('keeps the first outcome and hands it to a later writer', async () => {
    const tasks = new TaskStore(redis, { ageS: 100, count: 10, framesAgeS: 100 });
    const ticket = ticketFor('hello');
    const first = outcomeFor(ticket, { status: 'completed' });
    const late = outcomeFor(ticket, { status: 'failed' });
    expect(await tasks.settle(ticket, first)).toBeNull();
    expect(await tasks.settle(ticket, late)).toEqual(first);
    expect(await tasks.outcome({ namespace: 'default', taskId: ticket.taskId })).toEqual(first);
    expect((await tasks.stats({ namespace: 'default', artifactId: 'hello' })).settled).toEqual({
      completed: 1,
      failed: 0,
      timeout: 0,
      cancelled: 0,
    });
  });

  it('has exactly one winner among many at once', async () => {
    const tasks = new TaskStore(redis, { ageS: 100, count: 10, framesAgeS: 100 });
    const ticket = ticketFor('hello');
    const tries = Array.from({ length: 20 }, (_, i) => ({
      ...outcomeFor(ticket, { status: 'completed' }),
      runMs: i + 1,
    }));
    const standing = await Promise.all(tries.map((outcome) => tasks.settle(ticket, outcome)));
    expect(standing.filter((outcome) => outcome === null)).toHaveLength(1);
    const winner = await tasks.outcome({ namespace: 'default', taskId: ticket.taskId });
    for (const outcome of standing) if (outcome !== null) expect(outcome).toEqual(winner);
  });

  it('keeps no more than the set count of a status and forgets what belongs to the rest', async () => {
    const tasks = new TaskStore(redis, { ageS: 100, count: 3, framesAgeS: 100 });
    const tickets = Array.from({ length: 8 }, () => ticketFor('hello'));
    for (const ticket of tickets) {
      const result = Buffer.from('a result');
      await tasks.settle(ticket, outcomeFor(ticket, { status: 'completed' }), {
        log: packLines(0, 0, 'a line\n'),
        result,
      });
    }
    const kept = tickets
      .slice(-3)
      .map((ticket) => ticket.taskId)
      .reverse();
    expect(
      await tasks.listSettled(
        { namespace: 'default', artifactId: 'hello' },
        { statuses: ['completed'], before: null, limit: 10 },
      ),
    ).toEqual(kept);
    expect((await redis.keys('*:task:*')).length).toBe(3 * 3);
  });

  it('forgets many at a time where many are kept, each with all that belongs to it', async () => {
    const tasks = new TaskStore(redis, { ageS: 100, count: 1000, framesAgeS: 100 });
    const tickets = Array.from({ length: 1040 }, () => ticketFor('many'));
    for (const [i, ticket] of tickets.entries()) {
      const beside = i % 2 === 0 ? { isAlone: true } : { log: packLines(0, 0, 'a line\n') };
      await tasks.settle(ticket, outcomeFor(ticket, { status: 'completed' }), beside);
    }
    const listed = await tasks.listSettled(
      { namespace: 'default', artifactId: 'many' },
      { statuses: ['completed'], before: null, limit: 2000 },
    );
    expect(listed.length).toBeGreaterThanOrEqual(1000);
    expect(listed.length).toBeLessThan(1016);
    expect(listed).toEqual(
      tickets
        .map(({ taskId }) => taskId)
        .reverse()
        .slice(0, listed.length),
    );
    expect((await redis.keys('{pilum:default:many}:task:*:outcome')).length).toBe(listed.length);
    expect((await redis.keys('{pilum:default:many}:task:*:log')).length).toBe(Math.ceil((listed.length - 1) / 2));
  });

  it('keeps what failed or timed out for longer than the rest, with all that a retry needs', async () => {
    const tasks = new TaskStore(redis, { ageS: 100, failedAgeS: 1000, count: 10, framesAgeS: 100 });
    const oneOf = async (status: 'completed' | 'failed' | 'timeout' | 'cancelled') => {
      const ticket = ticketFor('hello');
      await tasks.settle(ticket, outcomeFor(ticket, { status }), { log: packLines(0, 0, 'a line\n') });
      const keys = await redis.keys(`*${ticket.taskId.split('.')[1]}:*`);
      const ages = await Promise.all(keys.map((key) => redis.ttl(key)));
      return [keys.map((key) => key.split(':').at(-1)).sort(), new Set(ages.map((age) => age > 100))];
    };
    expect(await oneOf('completed')).toEqual([['log', 'outcome'], new Set([false])]);
    expect(await oneOf('cancelled')).toEqual([['log', 'outcome', 'ticket'], new Set([false])]);
    expect(await oneOf('failed')).toEqual([['log', 'outcome', 'ticket'], new Set([true])]);
    expect(await oneOf('timeout')).toEqual([['log', 'outcome', 'ticket'], new Set([true])]);
  });

  it('keeps what was accepted with an idempotency key, whatever the count', async () => {
    const tasks = new TaskStore(redis, { ageS: 100, count: 1, framesAgeS: 100 });
    const keyed = ticketFor('hello', { keyed: true });
    await tasks.settle(keyed, outcomeFor(keyed, { status: 'completed' }));
    for (let i = 0; i < 3; i++) {
      const other = ticketFor('hello');
      await tasks.settle(other, outcomeFor(other, { status: 'completed' }));
    }
    expect(await tasks.outcome({ namespace: 'default', taskId: keyed.taskId })).not.toBeNull();
    const keys = await redis.keys(`*${keyed.taskId.split('.')[1]}:outcome`);
    expect(await redis.ttl(keys[0] ?? '')).toBeGreaterThan(23 * 3600);
  });

  it('lists by status, newest first, in pages', async () => {
    const tasks = new TaskStore(redis, { ageS: 100, count: 100, framesAgeS: 100 });
    const tickets = Array.from({ length: 6 }, () => ticketFor('hello'));
    for (const [i, ticket] of tickets.entries()) {
      await tasks.settle(ticket, outcomeFor(ticket, { status: i % 2 === 0 ? 'completed' : 'failed' }));
    }
    const ids = tickets.map((ticket) => ticket.taskId).reverse();
    const both = { statuses: ['completed', 'failed'] as const, limit: 4 };
    const first = await tasks.listSettled({ namespace: 'default', artifactId: 'hello' }, { ...both, before: null });
    expect(first).toEqual(ids.slice(0, 4));
    const before = first.at(-1)?.split('.')[1] ?? null;
    expect(await tasks.listSettled({ namespace: 'default', artifactId: 'hello' }, { ...both, before })).toEqual(
      ids.slice(4),
    );
    const failed = await tasks.listSettled(
      { namespace: 'default', artifactId: 'hello' },
      { statuses: ['failed'], before: null, limit: 10 },
    );
    expect(failed).toEqual([ids[0], ids[2], ids[4]]);
  });
});

describe('waiting for a reply', () => {
  it('hears of an outcome, and finds one whose reply was lost', async () => {
    const subscriber = new Subscriber(connect({ url: server.url, name: 'messages' }, fail), fail);
    const tasks = new TaskStore(redis, { ageS: 100, count: 10, framesAgeS: 100 });
    const inbox = new ReplyInbox(subscriber, tasks, fail);
    await inbox.open();
    try {
      const heard = ticketFor('hello', { replyTo: inbox.channel });
      const waitHeard = inbox.wait(heard, 5000).outcome;
      await tasks.settle(heard, outcomeFor(heard, { status: 'completed' }));
      expect((await waitHeard)?.taskId).toBe(heard.taskId);

      const lost = ticketFor('hello');
      const waitLost = inbox.wait(lost, 60_000).outcome;
      await tasks.settle(lost, outcomeFor(lost, { status: 'completed' }));
      expect((await waitLost)?.taskId).toBe(lost.taskId);

      const joined = ticketFor('hello');
      await tasks.addWaiter({ namespace: 'default', taskId: joined.taskId }, inbox.channel, 60);
      const waitJoined = inbox.wait(joined, 5000).outcome;
      await tasks.settle(joined, outcomeFor(joined, { status: 'timeout' }));
      expect((await waitJoined)?.status).toBe('timeout');

      expect(await inbox.wait(ticketFor('hello'), 10).outcome).toBeNull();
      expect(inbox.waiting).toBe(0);
    } finally {
      inbox.close();
      subscriber.close();
    }
  });
});

describe('a queue', () => {
  it('hands a job over once, keeps it while its lock is renewed, and drops its payload at the end', async () => {
    const queues = new TaskQueues(redis);
    const queue = queues.of({ namespace: 'default', artifactId: 'hello' });
    await queue.configure();
    const ticket = ticketFor('hello');
    await accept(queue, ticket);
    await accept(queue, ticket); // again: nothing changes
    expect(await queue.counts()).toMatchObject({ waiting: 1, active: 0 });
    const held = (await queue.fetch('token-1', 'worker-1')).job;
    expect(held?.ticket).toEqual(ticket);
    expect((await queue.fetch('token-2', 'worker-1')).job).toBeNull();
    expect((await queue.read(ticket.taskId))?.state).toBe('running');
    expect(await queue.extendLocks([held!])).toEqual([]);
    const second = ticketFor('hello');
    await accept(queue, second);
    const tasks = new TaskStore(redis, { ageS: 100, count: 10, framesAgeS: 100 });
    const outcome = outcomeFor(ticket, { status: 'completed' });
    const settlement = tasks.settlement(ticket, outcome);
    const next = { token: 'token-3', workerId: 'worker-1', offer: false };
    const { job } = await queue.end(held!, { settlement, failure: null, next });
    expect(await tasks.outcome({ namespace: 'default', taskId: ticket.taskId })).toEqual(outcome);
    expect(job?.ticket.taskId).toBe(second.taskId);
    expect(await redis.keys(`{pilum:default:hello}:queue:${ticket.taskId}*`)).toEqual([]);
    const failure = outcomeFor(second, { status: 'failed' });
    expect(await end(queue, tasks, job!, failure)).toMatchObject({ wasOurs: true, standing: null });
    const data = await redis.hget(`{pilum:default:hello}:queue:${second.taskId}`, 'data');
    expect(JSON.parse(data ?? '').payload).toEqual({ encoding: 'redacted', sizeBytes: 7 });
    expect(await end(queue, tasks, job!, failure)).toMatchObject({ wasOurs: false });
    expect(await queue.counts()).toMatchObject({ waiting: 0, active: 0 });
    await queues.close();
  });

  it('is held again by its worker after its lock has run out, unless another has it', async () => {
    const queues = new TaskQueues(redis);
    const queue = queues.of({ namespace: 'default', artifactId: 'hello' });
    const ticket = ticketFor('hello');
    await accept(queue, ticket);
    const held = (await queue.fetch('token-1', 'worker-1')).job!;
    await redis.del(held.lockKey);
    expect(await queue.extendLocks([held])).toEqual([]);
    expect(await redis.get(held.lockKey)).toBe('token-1');
    await redis.del(held.lockKey);
    for (let check = 0; check < 2; check++) {
      await redis.del('{pilum:default:hello}:queue:stalled-check');
      await queue.recoverStalled();
    }
    expect(await queue.extendLocks([held])).toEqual([ticket.taskId]);
    const second = (await queue.fetch('token-2', 'worker-2')).job!;
    expect(await queue.extendLocks([held, second])).toEqual([ticket.taskId]);
    const tasks = new TaskStore(redis, { ageS: 100, count: 10, framesAgeS: 100 });
    await end(queue, tasks, second, outcomeFor(ticket, { status: 'completed' }));
    expect(await queue.extendLocks([second])).toEqual([ticket.taskId]);
    expect(await redis.exists(held.lockKey)).toBe(0);
    await queues.close();
  });

  it('hands over what an earlier release has accepted', async () => {
    const queues = new TaskQueues(redis);
    const queue = queues.of({ namespace: 'default', artifactId: 'hello' });
    const ticket = ticketFor('hello');
    await accept(queue, ticket);
    const { dueAtMs, queueMs, attempt: _, maxAttempts: __, priority: ___, ...rest } = ticket;
    const old = { ...rest, queueDeadlineMs: dueAtMs + queueMs };
    await redis.hset(`{pilum:default:hello}:queue:${ticket.taskId}`, 'data', JSON.stringify(old));
    expect((await queue.fetch('token', 'worker')).job?.ticket).toEqual(ticket);
    await queues.close();
  });

  it('accepts nothing after its time, and nothing that is known', async () => {
    const queues = new TaskQueues(redis);
    const queue = queues.of({ namespace: 'default', artifactId: 'hello' });
    const ticket = ticketFor('hello', { payload: { encoding: 'beside', sizeBytes: 3 } });
    const options = { limits: { tasks: 10, bytes: 10 }, payload: Buffer.from('abc') };
    await expect(queue.accept(ticket, { ...options, notAfterMs: Date.now() - 1000 })).rejects.toMatchObject({
      code: 'REDIS_UNAVAILABLE',
    });
    // The artifact is looked after for a while, for nothing.
    expect(await redis.keys('*')).toEqual(['{pilum:artifacts}:active']);
    await queue.accept(ticket, { ...options, notAfterMs: Date.now() + 10_000 });
    await queue.accept(ticket, { ...options, notAfterMs: Date.now() - 1000 });
    expect(await queue.counts()).toMatchObject({ waiting: 1 });
    const tasks = new TaskStore(redis, { ageS: 100, count: 10, framesAgeS: 100 });
    await tasks.settle(ticket, outcomeFor(ticket, { status: 'completed' }));
    await queue.remove(ticket.taskId);
    await accept(queue, ticket);
    expect(await queue.counts()).toMatchObject({ waiting: 0 });
    await queues.close();
  });

  it('hands over what is most urgent first, and equals in order', async () => {
    const queues = new TaskQueues(redis);
    const queue = queues.of({ namespace: 'default', artifactId: 'hello' });
    const tickets = [5, 9, 0, 5, 0].map((priority) => ticketFor('hello', { priority }));
    for (const ticket of tickets) await accept(queue, ticket);
    const begun = [];
    for (let i = 0; i < tickets.length; i++) begun.push((await queue.fetch(`token-${i}`, 'worker')).job);
    expect(begun.map((job) => tickets.findIndex(({ taskId }) => taskId === job?.ticket.taskId))).toEqual([
      2, 4, 0, 3, 1,
    ]);
    // One that is given back is first among its equals.
    const last = ticketFor('hello');
    await accept(queue, last);
    await queue.giveBack(begun[2]!);
    expect((await queue.fetch('token-again', 'worker')).job?.ticket.taskId).toBe(tickets[0]?.taskId);
    expect(await queue.ids(['pending'], { before: null, limit: 10 })).toEqual([last.taskId]);
    await queues.close();
  });

  it('gives back a job that was not begun, and holds back while it is paused', async () => {
    const queues = new TaskQueues(redis);
    const queue = queues.of({ namespace: 'default', artifactId: 'hello' });
    const ticket = ticketFor('hello');
    await accept(queue, ticket);
    const held = (await queue.fetch('token-1', 'worker-1')).job;
    await queue.giveBack(held!);
    expect((await queue.read(ticket.taskId))?.state).toBe('pending');
    await queue.setPaused(true);
    expect((await queue.fetch('token-2', 'worker-1')).job).toBeNull();
    await queue.setPaused(false);
    expect((await queue.fetch('token-3', 'worker-1')).job?.ticket.taskId).toBe(ticket.taskId);
    await queues.close();
  });

  it('says of a job that was given back once, and not each time, that it was taken from a dead worker', async () => {
    const queues = new TaskQueues(redis);
    const queue = queues.of({ namespace: 'default', artifactId: 'hello' });
    await accept(queue, ticketFor('hello'));
    const lost = (await queue.fetch('token-1', 'worker-1')).job!;
    await redis.del(lost.lockKey);
    for (let check = 0; check < 2; check++) {
      await redis.del('{pilum:default:hello}:queue:stalled-check');
      await queue.recoverStalled();
    }
    const recovered = (await queue.fetch('token-2', 'worker-2')).job!;
    expect([recovered.stalls, recovered.ticket.stalls]).toEqual([1, undefined]);
    await queue.giveBack(recovered);
    const next = (await queue.fetch('token-3', 'worker-3')).job!;
    expect([next.stalls, next.ticket.stalls]).toEqual([1, 1]);
    await queues.close();
  });

  it('runs no more at once than its limit', async () => {
    const queues = new TaskQueues(redis);
    const queue = queues.of({ namespace: 'default', artifactId: 'hello' });
    await queue.setMaxConcurrency(1);
    await accept(queue, ticketFor('hello'));
    await accept(queue, ticketFor('hello'));
    expect((await queue.fetch('token-1', 'worker-1')).job).not.toBeNull();
    expect((await queue.fetch('token-2', 'worker-1')).job).toBeNull();
    await queue.setMaxConcurrency(null);
    expect((await queue.fetch('token-3', 'worker-1')).job).not.toBeNull();
    await queues.close();
  });

  it('lists its tasks by state', async () => {
    const queues = new TaskQueues(redis);
    const queue = queues.of({ namespace: 'default', artifactId: 'hello' });
    const [first, second] = [ticketFor('hello'), ticketFor('hello')];
    await accept(queue, first);
    await accept(queue, second);
    (await queue.fetch('token-1', 'worker-1')).job;
    const filter = { before: null, limit: 10 };
    expect(await queue.ids(['pending'], filter)).toEqual([second.taskId]);
    expect(await queue.ids(['running'], filter)).toEqual([first.taskId]);
    expect(await queue.ids(['pending', 'running'], filter)).toEqual([second.taskId, first.taskId]);
    await queues.close();
  });
});
