import { KeptRounds } from '@pilum/core/housekeeping/kept-rounds.ts';
import { createLogger } from '@pilum/core/log/logger.ts';
import { TaskQueues } from '@pilum/core/queue/task-queues.ts';
import { connect, type Redis } from '@pilum/core/redis/connect.ts';
import { Pieces } from '@pilum/core/redis/pieced-command.ts';
import type { Outcome, Ticket } from '@pilum/core/schemas/task.ts';
import { ArtifactLists } from '@pilum/core/store/artifact-list.ts';
import { ArtifactStore } from '@pilum/core/store/artifact-store.ts';
import { KeptStore } from '@pilum/core/store/kept-store.ts';
import { OutputStore, packLines } from '@pilum/core/store/output-store.ts';
import { type Beside, TaskStore } from '@pilum/core/store/task-store.ts';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { accept, end, outcomeFor, ticketFor } from '../support/tasks.ts';

let server: TestRedis;
let redis: Redis;
let kept: KeptStore;
beforeAll(async () => {
  server = await startRedis();
  redis = connect({ url: server.url, name: 'test' }, () => undefined);
  kept = new KeptStore(redis);
});
afterAll(async () => {
  redis.disconnect();
  await server.close();
});
beforeEach(async () => {
  await redis.flushall();
});

const KIB = 1024;
const storeOf = (mostBytes: number, count = 1000) =>
  new TaskStore(redis, { ageS: 100, count, framesAgeS: 100, mostBytes });
const keptBytes = async (artifactId: string) => (await kept.bytes([{ namespace: 'default', artifactId }]))[0];

/** Settles a task with what it came to. */
async function settle(tasks: TaskStore, artifactId: string, result: Outcome['result'], beside: Beside = {}) {
  const ticket = ticketFor(artifactId);
  const outcome: Outcome = {
    ...outcomeFor(ticket, { status: 'completed' }),
    ...(result === undefined ? {} : { result }),
    // The function may say this of its progress, which stands before the result and looks like one.
    progress: { encoding: 'utf8', data: 'mine' },
  };
  await tasks.settle(ticket, outcome, beside);
  return ticket;
}

const beside = (sizeBytes: number) => ({ contentType: 'text/plain', sizeBytes, encoding: 'beside' }) as const;
const inline = (data: string) =>
  ({ contentType: 'text/plain', sizeBytes: Buffer.byteLength(data), encoding: 'utf8', data }) as const;

async function resultOf(tasks: TaskStore, { namespace, taskId }: Ticket) {
  const outcome = await tasks.outcome({ namespace, taskId });
  if (outcome === null) throw new Error('the record is gone');
  return { outcome, bytes: await tasks.result(outcome) };
}

describe('what the settled tasks of an artifact hold', () => {
  it('stays within its limit: the oldest results go, and their records stay', async () => {
    const tasks = storeOf(100 * KIB);
    const tickets: Ticket[] = [];
    for (let i = 0; i < 10; i++) {
      tickets.push(await settle(tasks, 'large', beside(40 * KIB), { result: Buffer.alloc(40 * KIB, i) }));
    }
    for (const [i, ticket] of tickets.entries()) {
      const { outcome, bytes } = await resultOf(tasks, ticket);
      expect(outcome.status).toBe('completed');
      expect(bytes?.length ?? null).toBe(i < 8 ? null : 40 * KIB);
    }
    expect(await keptBytes('large')).toBeLessThanOrEqual(100 * KIB);
    expect(await redis.keys('*:result')).toHaveLength(2);
  });

  it('counts results that lie in their outcome, and takes them out of it whatever stands in them', async () => {
    const tasks = storeOf(50 * KIB);
    const text = `"encoding":"utf8","data":"${'\\"é\n'.repeat(5 * KIB)}`;
    const tickets: Ticket[] = [];
    for (let i = 0; i < 6; i++) tickets.push(await settle(tasks, 'inline', inline(text), { isAlone: true }));
    const first = await resultOf(tasks, tickets[0] as Ticket);
    expect(first.bytes).toBeNull();
    expect(first.outcome.result).toEqual({ ...beside(Buffer.byteLength(text)) });
    expect(first.outcome.progress).toEqual({ encoding: 'utf8', data: 'mine' });
    expect((await resultOf(tasks, tickets[5] as Ticket)).bytes?.toString()).toBe(text);
    const stored = await Promise.all((await redis.keys('*:outcome')).map((key) => redis.strlen(key)));
    expect(stored.reduce((sum, size) => sum + size)).toBeLessThan(55 * KIB);
    expect(
      Math.min(...(await Promise.all((await redis.keys('*:outcome')).map((key) => redis.ttl(key))))),
    ).toBeGreaterThan(0);
  });

  it('counts logs, and says in their place that they have gone', async () => {
    const tasks = storeOf(50 * KIB);
    const outputs = new OutputStore(redis);
    const line = JSON.stringify({
      at: '2026-01-01T00:00:00.000Z',
      stream: 'stdout',
      level: 'info',
      text: 'x'.repeat(20 * KIB),
    });
    const tickets: Ticket[] = [];
    for (let i = 0; i < 5; i++) {
      tickets.push(await settle(tasks, 'wordy', undefined, { log: packLines(0, 0, `${line}\n`), isAlone: true }));
    }
    const runs = await Promise.all(tickets.map(({ taskId }) => outputs.lines({ namespace: 'default', taskId })));
    expect(JSON.parse(runs[0]?.[0]?.lines[0] ?? '')).toMatchObject({
      level: 'warn',
      text: expect.stringContaining('no longer kept'),
    });
    expect(runs[4]?.[0]?.lines).toEqual([line]);
  });

  it('counts payloads and attempts that are kept for a retry, and frames', async () => {
    const tasks = storeOf(100 * KIB);
    const queue = new TaskQueues(redis).of({ namespace: 'default', artifactId: 'failing' });
    const outputs = new OutputStore(redis);
    const tickets: Ticket[] = [];
    for (let i = 0; i < 4; i++) {
      const ticket = ticketFor('failing', { payload: { encoding: 'beside', sizeBytes: 40 * KIB } });
      tickets.push(ticket);
      await accept(queue, ticket, Buffer.alloc(40 * KIB));
      const { job } = await queue.fetch(`worker:${i}`, 'worker');
      const none = { frames: 0, chunks: 0, bytes: 0, lines: 0 };
      const batch = {
        before: none,
        after: { ...none, frames: 1, bytes: 20 * KIB },
        frames: new Pieces([Buffer.alloc(20 * KIB)]),
        lines: '',
        linesAfter: 0,
        trimBelow: 0,
        dropLogs: 0,
        progress: null,
        isFirst: true,
      };
      await outputs.append(ticket, { token: `worker:${i}` }, batch, 'nobody');
      await end(queue, tasks, job!, outcomeFor(ticket, { status: 'failed' }));
    }
    expect(await tasks.ticket({ namespace: 'default', taskId: tickets[0]!.taskId })).toBeNull();
    expect(await tasks.payload(tickets[0]!)).toBeNull();
    expect((await tasks.payload(tickets[3]!))?.length).toBe(40 * KIB);
    // What lies beside an outcome goes before its frames.
    expect(await redis.keys('*:frames')).toHaveLength(2);
    expect(await keptBytes('failing')).toBeLessThanOrEqual(100 * KIB);
    expect((await tasks.outcome({ namespace: 'default', taskId: tickets[0]!.taskId }))?.status).toBe('failed');
  });

  it('is no record: what a function says of its failure or progress is cut where it would make one of it', async () => {
    const tasks = storeOf(1000 * KIB);
    const ticket = ticketFor('boasting');
    const failed = {
      ...outcomeFor(ticket, { status: 'failed' }),
      error: {
        code: 'FUNCTION_FAILED' as const,
        message: 'm'.repeat(1_000_000),
        details: { stack: 's'.repeat(1_000_000) },
      },
      progress: 'p'.repeat(1_000_000),
    };
    expect(await tasks.settle(ticket, failed)).toBeNull();
    // The same again is no other outcome.
    expect(await tasks.settle(ticket, failed)).toBeNull();
    const outcome = await tasks.outcome({ namespace: 'default', taskId: ticket.taskId });
    expect(outcome?.error).toMatchObject({
      message: expect.stringMatching(/m… \[cut\]$/),
      details: { cut: 'too large' },
    });
    expect(JSON.stringify(outcome).length).toBeLessThan(20_000);
    const completed = await settle(tasks, 'boasting', inline('x'.repeat(20_000)));
    expect((await resultOf(tasks, completed)).bytes?.length).toBe(20_000);
  });

  it('keeps the result of the task that ends now, also where it alone is more', async () => {
    const tasks = storeOf(10 * KIB);
    await settle(tasks, 'huge', beside(8 * KIB), { result: Buffer.alloc(8 * KIB) });
    const last = await settle(tasks, 'huge', beside(40 * KIB), { result: Buffer.alloc(40 * KIB) });
    expect((await resultOf(tasks, last)).bytes?.length).toBe(40 * KIB);
    expect(await redis.keys('*:result')).toHaveLength(1);
  });

  it('is counted down with tasks over the count, and not counted where it is small', async () => {
    const tasks = storeOf(1000 * KIB, 2);
    for (let i = 0; i < 5; i++) await settle(tasks, 'few', beside(10 * KIB), { result: Buffer.alloc(10 * KIB) });
    expect(await keptBytes('few')).toBeLessThan(25 * KIB);
    expect(await redis.zcard('{pilum:default:few}:kept')).toBe(2);
    await settle(tasks, 'small', undefined, { isAlone: true });
    expect(await redis.exists('{pilum:default:small}:kept')).toBe(0);
  });

  it('is counted down when it has expired', async () => {
    const tasks = storeOf(1000 * KIB);
    const first = await settle(tasks, 'old', beside(10 * KIB), { result: Buffer.alloc(10 * KIB) });
    await settle(tasks, 'old', beside(10 * KIB), { result: Buffer.alloc(10 * KIB) });
    const keys = await redis.keys(`*${first.taskId.split('.')[1]}*`);
    await redis.del(...keys);
    expect(await kept.sweep({ namespace: 'default', artifactId: 'old' }, 0, 100)).toBe(0);
    expect(await keptBytes('old')).toBeLessThan(12 * KIB);
  });

  it('keeps to the limit of its namespace: the largest artifacts give', async () => {
    const tasks = storeOf(1000 * KIB);
    for (let i = 0; i < 10; i++) await settle(tasks, 'rich', beside(20 * KIB), { result: Buffer.alloc(20 * KIB) });
    const poor = await settle(tasks, 'poor', beside(20 * KIB), { result: Buffer.alloc(20 * KIB) });
    const rounds = new KeptRounds(
      kept,
      new ArtifactLists(redis).holding,
      { artifactBytes: 1000 * KIB, namespaceBytes: 100 * KIB },
      createLogger('test', 'silent'),
    );
    await rounds.look(['rich', 'poor'].map((artifactId) => ({ namespace: 'default', artifactId })));
    await rounds.end();
    expect((await resultOf(tasks, poor)).bytes?.length).toBe(20 * KIB);
    expect(Number(await keptBytes('rich')) + Number(await keptBytes('poor'))).toBeLessThanOrEqual(100 * KIB);
    expect(await redis.keys('*rich*:result')).toHaveLength(3);
  });
});

describe('what a deleted artifact leaves behind', () => {
  it('goes piece by piece, and what belongs to a new one of the same id stays', async () => {
    const tasks = storeOf(10_000 * KIB, 5);
    const artifacts = new ArtifactStore(redis);
    const version = {
      contentHash: 'a',
      spec: { runtime: 'process' } as never,
      code: null,
    };
    await artifacts.addVersion({ namespace: 'default', artifactId: 'gone' }, version);
    for (let i = 0; i < 120; i++) {
      const keyed = ticketFor('gone', { keyed: true });
      await tasks.claimIdempotencyKey({ namespace: 'default', artifactId: 'gone' }, `key-${i}`, {
        digest: 'd',
        taskId: keyed.taskId,
        waitMs: 0,
      });
      const outcome = { ...outcomeFor(keyed, { status: 'completed' }), result: beside(3 * KIB) };
      await tasks.settle(keyed, outcome, { result: Buffer.alloc(3 * KIB), log: packLines(0, 0, 'a line\n') });
      const failed = ticketFor('gone');
      await tasks.settle(failed, outcomeFor(failed, { status: 'failed' }));
    }
    const deletedAtMs = await artifacts.delete({ namespace: 'default', artifactId: 'gone' });
    await new Promise((resolve) => setTimeout(resolve, 5));
    await artifacts.addVersion({ namespace: 'default', artifactId: 'gone' }, version);
    const young = ticketFor('gone', { keyed: true });
    await tasks.claimIdempotencyKey({ namespace: 'default', artifactId: 'gone' }, 'young', {
      digest: 'd',
      taskId: young.taskId,
      waitMs: 0,
    });
    await tasks.settle(young, outcomeFor(young, { status: 'completed' }));

    const now = Date.now();
    const early = await kept.purge({ namespace: 'default', artifactId: 'gone' }, deletedAtMs!, now - 3_600_000);
    expect([early.removed, early.staying > 0]).toEqual([0, true]);
    let pieces = 0;
    while ((await kept.purge({ namespace: 'default', artifactId: 'gone' }, deletedAtMs!, now + 60_000)).removed > 0)
      pieces++;
    expect(pieces).toBeGreaterThan(2);
    expect((await redis.keys('*:task:*')).sort()).toEqual([
      `{pilum:default:gone}:task:${young.taskId.split('.')[1]}:outcome`,
    ]);
    expect(await redis.keys('*:idempotency:*')).toEqual(['{pilum:default:gone}:idempotency:young']);
    expect(await keptBytes('gone')).toBe(0);
    expect(await redis.exists('{pilum:default:gone}:kept')).toBe(0);
    expect(
      (
        await tasks.claimIdempotencyKey({ namespace: 'default', artifactId: 'gone' }, 'key-1', {
          digest: 'd',
          taskId: 'new',
          waitMs: 0,
        })
      ).taskId,
    ).toBe('new');
  });
});
