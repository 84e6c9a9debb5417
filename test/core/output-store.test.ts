import type { HeldJob } from '@pilum/core/queue/held-job.ts';
import { TaskQueues } from '@pilum/core/queue/task-queues.ts';
import { connect, type Redis } from '@pilum/core/redis/connect.ts';
import { outputChannel, taskKeys } from '@pilum/core/redis/keys.ts';
import { Pieces } from '@pilum/core/redis/pieced-command.ts';
import { OutputInbox } from '@pilum/core/replies/output-inbox.ts';
import { FRAME_KINDS, packFrame } from '@pilum/core/schemas/frame.ts';
import type { Outcome } from '@pilum/core/schemas/task.ts';
import {
  NO_OUTPUT,
  type OutputBatch,
  type OutputEnd,
  type OutputMessage,
  OutputStore,
} from '@pilum/core/store/output-store.ts';
import { TaskStore } from '@pilum/core/store/task-store.ts';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { accept, end, outcomeFor, ticketFor } from '../support/tasks.ts';
import { waitFor } from '../support/wait-for.ts';

let server: TestRedis;
let redis: Redis;
let queues: TaskQueues;
let store: OutputStore;
let tasks: TaskStore;
let job: HeldJob;

const parts = keep();
beforeAll(async () => {
  server = parts.add(await startRedis());
  redis = parts.add(connect({ url: server.url, name: 'test' }, () => undefined));
  queues = parts.add(new TaskQueues(redis));
  store = new OutputStore(redis);
  tasks = new TaskStore(redis, { ageS: 1000, count: 10, framesAgeS: 100 });
});
beforeEach(async () => {
  await redis.flushall();
  const ticket = ticketFor('hello', { mode: 'stream' });
  await accept(queues.of({ namespace: 'default', artifactId: 'hello' }), ticket);
  const { job: taken } = await queues.of({ namespace: 'default', artifactId: 'hello' }).fetch('token', 'worker');
  if (taken === null) throw new Error('no job');
  job = taken;
});

/** A batch of text frames and lines that follow on what there is. */
function batch(
  before: OutputEnd,
  texts: readonly string[],
  lines: readonly string[] = [],
  more: Partial<OutputBatch> = {},
) {
  const packed = texts.map((text) => packFrame(FRAME_KINDS.text, Buffer.from(text)).bytes);
  const frames = new Pieces(packed);
  const after: OutputEnd = {
    frames: before.frames + texts.length,
    chunks: before.chunks + texts.length,
    bytes: before.bytes + frames.length,
    lines: before.lines + lines.length,
  };
  const text = lines.map((line) => `${JSON.stringify({ text: line })}\n`).join('');
  const whole: OutputBatch = {
    before,
    after,
    frames,
    lines: text,
    linesAfter: before.lines,
    trimBelow: 0,
    dropLogs: 0,
    progress: null,
    isFirst: before === NO_OUTPUT,
    ...more,
  };
  return whole;
}

const append = (what: OutputBatch, token = job.token) => store.append(job.ticket, { token }, what, 'pace');
const kept = async (after = 0) =>
  (await store.frames({ namespace: 'default', taskId: job.ticket.taskId }, after, 100)).flatMap(({ frames }) =>
    frames.map(({ payload }) => payload.toString()),
  );

describe('the output of a task', () => {
  it('is kept in order, and read from any frame on', async () => {
    const first = batch(NO_OUTPUT, ['a', 'b', 'c'], ['one']);
    const second = batch(first.after, ['d', 'ü'], ['two', 'three']);
    expect([await append(first), await append(second)]).toEqual([0, 0]);
    expect(await kept()).toEqual(['a', 'b', 'c', 'd', 'ü']);
    // What was asked for, and what came with it in one batch.
    expect(await store.frames({ namespace: 'default', taskId: job.ticket.taskId }, 2, 1)).toMatchObject([
      { after: 0, bytes: first.after.bytes },
    ]);
    expect(await kept(3)).toEqual(['d', 'ü']);
    expect(await kept(5)).toEqual([]);
    expect(await store.lines({ namespace: 'default', taskId: job.ticket.taskId })).toEqual([
      { after: 0, afterFrame: 0, lines: ['{"text":"one"}'] },
      { after: 1, afterFrame: 3, lines: ['{"text":"two"}', '{"text":"three"}'] },
    ]);
    expect(await store.end({ namespace: 'default', taskId: job.ticket.taskId })).toEqual(second.after);
  });

  it('has nothing twice where a command was sent again', async () => {
    const first = batch(NO_OUTPUT, ['a'], ['one']);
    const second = batch(first.after, [], ['two']);
    for (const one of [first, first, second, second]) expect(await append(one)).toBe(0);
    expect(await kept()).toEqual(['a']);
    expect(
      (await store.lines({ namespace: 'default', taskId: job.ticket.taskId })).flatMap(({ lines }) => lines),
    ).toHaveLength(2);
  });

  it('takes nothing from a worker that has lost the job, nor after the outcome', async () => {
    const first = batch(NO_OUTPUT, ['a']);
    await append(first);
    expect(await append(batch(first.after, ['late']), 'another token')).toBe('late');
    await redis.set(job.lockKey, 'whoever has it now');
    expect(await append(batch(first.after, ['late']))).toBe('late');
    await redis.del(job.lockKey);
    // Nobody has taken it yet: it is still the worker's.
    expect(await append(batch(first.after, ['b']))).toBe(0);
    expect(await append(batch(NO_OUTPUT, ['other']))).toBe('late');
    await end(
      queues.of({ namespace: 'default', artifactId: 'hello' }),
      tasks,
      job,
      outcomeFor(job.ticket, { status: 'completed' }),
    );
    expect(await append(batch(first.after, ['late']))).toBe('settled');
    expect(await kept()).toEqual(['a', 'b']);
  });

  it('is let go of where the worker says so', async () => {
    let before = NO_OUTPUT;
    for (let i = 1; i <= 5; i++) {
      const next = batch(before, [`${i}`, `${i}'`], [`line ${i}`], i === 5 ? { trimBelow: 6, dropLogs: 2 } : {});
      await append(next);
      before = next.after;
    }
    expect(await store.frames({ namespace: 'default', taskId: job.ticket.taskId }, 0, 1)).toMatchObject([{ after: 4 }]);
    expect((await store.lines({ namespace: 'default', taskId: job.ticket.taskId }))[0]).toMatchObject({ after: 2 });
  });

  it('goes with its task, its frames before', async () => {
    await append(batch(NO_OUTPUT, ['a'], ['one'], { progress: '{"done":1}' }));
    expect(await store.progress({ namespace: 'default', taskId: job.ticket.taskId })).toBe('{"done":1}');
    const keys = taskKeys({ namespace: 'default', taskId: job.ticket.taskId });
    const ages = () => Promise.all([keys.frames, keys.log, keys.output].map((key) => redis.ttl(key)));
    for (const age of await ages()) expect(age).toBeGreaterThan(24 * 3600);
    await end(
      queues.of({ namespace: 'default', artifactId: 'hello' }),
      tasks,
      job,
      outcomeFor(job.ticket, { status: 'completed' }),
    );
    expect(await ages()).toEqual([100, 1000, 1000]);
  });

  it('outlives a Redis that has forgotten its scripts', async () => {
    await redis.script('FLUSH');
    await append(batch(NO_OUTPUT, ['grüße', 'x'.repeat(100_000)]));
    expect((await kept()).map(({ length }) => length)).toEqual([5, 100_000]);
  });
});

describe('who follows a task', () => {
  it('hears frames small and large, lines, and the outcome, and is counted until it leaves', async () => {
    const errors: unknown[] = [];
    const inbox = new OutputInbox(
      () => connect({ url: server.url, name: 'test-output' }, () => undefined),
      (error) => errors.push(error),
    );
    const { taskId } = job.ticket;
    const heard: OutputMessage[] = [];
    const outcomes: Outcome[] = [];
    const listener = {
      onOutput: (message: OutputMessage) => heard.push(message),
      onOutcome: (outcome: Outcome) => outcomes.push(outcome),
      onGap: () => undefined,
    };
    const following = inbox.follow({ namespace: 'default', taskId }, listener);
    await following.ready;
    expect(await store.readers([{ namespace: 'default', taskId }])).toEqual([1]);
    const small = batch(NO_OUTPUT, ['a', 'b'], ['grüße']);
    const large = batch(small.after, ['x'.repeat(50_000)], ['two']);
    const huge = batch(large.after, ['y'.repeat(600_000)]);
    expect([await append(small), await append(large), await append(huge)]).toEqual([1, 1, 1]);
    await tasks.settle(
      { ...job.ticket, replyTo: outputChannel({ namespace: 'default', taskId }) },
      outcomeFor(job.ticket, { status: 'completed' }),
    );
    await waitFor(() => outcomes.length > 0, { what: 'the outcome' });
    expect(heard.map(({ frames }) => frames.frames.map(({ payload }) => payload.length))).toEqual([
      [1, 1],
      [50_000],
      [],
    ]);
    expect(heard.map(({ end: at }) => at.frames)).toEqual([2, 3, 4]);
    expect(heard.map(({ lines }) => lines.lines)).toEqual([['{"text":"grüße"}'], ['{"text":"two"}'], []]);
    expect(heard[0]).toMatchObject({ sender: 'pace', frames: { after: 0 }, lines: { after: 0 } });
    following.close();
    following.close();
    await waitFor(async () => (await store.readers([{ namespace: 'default', taskId }]))[0] === 0, { what: 'nobody' });
    expect(errors).toEqual([]);
    inbox.close();
  });
});
