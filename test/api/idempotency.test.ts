import { taskKeys } from '@pilum/core/redis/keys.ts';
import { beforeAll, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';
import { startApi, type TestApi } from './support/api.ts';
import { json, TestWorker } from './support/worker.ts';

let redis: TestRedis;
let api: TestApi;
let other: TestApi;
let worker: TestWorker;
const kept = keep();
beforeAll(async () => {
  redis = kept.add(await startRedis());
  api = kept.add(await startApi({ url: redis.url }));
  other = kept.add(await startApi({ url: redis.url }));
  worker = kept.add(new TestWorker(redis.url));
  await worker.report();
});

const keyed = (key = 'a key') => ({ 'idempotency-key': key });

describe('a call with an Idempotency-Key', () => {
  it('is run once, and a repeat answers as the first did', async () => {
    await api.deploy('once');
    let runs = 0;
    worker.serve('once', () => json(++runs));
    const first = await api.invoke('once', { a: 1 }, '', keyed());
    const again = await other.invoke('once', { a: 1 }, '', keyed());
    expect(first.headers['idempotent-replayed']).toBeUndefined();
    expect(again.headers['idempotent-replayed']).toBe('true');
    expect([again.status, again.json]).toEqual([first.status, first.json]);
    expect((await api.invoke('once', { a: 1 }, '', keyed('another key'))).json.result).toBe(2);
    expect((await api.invoke('once', { a: 1 })).json.result).toBe(3);
  });

  it('is run once when two come at once, at two processes', async () => {
    await api.deploy('race');
    let runs = 0;
    worker.serve('race', () => json(++runs));
    const calls = [api, other, api, other].map((one) => one.invoke('race', { a: 1 }, '', keyed()));
    const answers = await Promise.all(calls);
    expect(new Set(answers.map((answer) => answer.json.taskId)).size).toBe(1);
    expect(answers.map((answer) => answer.json.result)).toEqual([1, 1, 1, 1]);
    expect(answers.filter((answer) => answer.headers['idempotent-replayed'] === 'true')).toHaveLength(3);
    expect(runs).toBe(1);
  });

  it('joins a task that still runs', async () => {
    await api.deploy('joined');
    const first = api.invoke('joined', { a: 1 }, '', keyed());
    const held = await waitFor(() => worker.take('joined'), { what: 'the task' });
    const second = other.invoke('joined', { a: 1 }, '', keyed());
    await waitFor(() => other.deps.inbox.waiting === 1, { what: 'the second wait' });
    await worker.end(held, json('shared'));
    expect((await second).json).toEqual((await first).json);
    expect(await api.deps.queues.of({ namespace: 'default', artifactId: 'joined' }).counts()).toMatchObject({
      waiting: 0,
      active: 0,
    });
  });

  it('repeats a failure as it was', async () => {
    await api.deploy('failed-once');
    worker.serve('failed-once', () => ({
      status: 'failed',
      result: undefined,
      error: { code: 'FUNCTION_FAILED', message: 'no' },
    }));
    const first = await api.invoke('failed-once', {}, '', keyed());
    const again = await api.invoke('failed-once', {}, '', keyed());
    expect([first.status, again.status]).toEqual([502, 502]);
    expect(again.json).toEqual(first.json);
  });

  it('answers an async repeat 202 with the same task, pending or settled', async () => {
    await api.deploy('queued');
    const first = await api.invoke('queued', {}, '?mode=async', keyed());
    const again = await api.invoke('queued', {}, '?mode=async', keyed());
    expect([again.status, again.json.taskId, again.json.status]).toEqual([202, first.json.taskId, 'pending']);
    expect(await api.deps.queues.of({ namespace: 'default', artifactId: 'queued' }).counts()).toMatchObject({
      waiting: 1,
      active: 0,
    });
    const held = await worker.take('queued');
    if (held) await worker.end(held, json('done'));
    const settled = await api.invoke('queued', {}, '?mode=async', keyed());
    expect([settled.status, settled.json.taskId, settled.json.result]).toEqual([202, first.json.taskId, 'done']);
  });

  it('goes on with the task of a call that died between key and queue, large payload included', async () => {
    await api.deploy('widow');
    const body = 'x'.repeat(100_000);
    const first = await api.invoke('widow', body, '?mode=async', keyed());
    await api.deps.queues.of({ namespace: 'default', artifactId: 'widow' }).remove(first.json.taskId);
    await worker.redis.unlink(taskKeys({ namespace: 'default', taskId: first.json.taskId }).payload);
    worker.serve('widow', (_ticket, payload) => json(payload?.length));
    const again = await other.invoke('widow', body, '', keyed());
    expect(again.json).toMatchObject({ taskId: first.json.taskId, result: 100_000 });
  });

  it('is refused where the key was used with a different request', async () => {
    await api.deploy('differs');
    const first = await api.invoke('differs', { a: 1 }, '?mode=async', keyed());
    for (const [body, query, headers] of [
      [{ a: 2 }, '?mode=async', {}],
      [{ a: 1 }, '?mode=async&timeout=1s', {}],
      ['{"a":1}', '?mode=async', { 'content-type': 'text/plain' }],
    ] as const) {
      const answer = await api.invoke('differs', body, query, { ...keyed(), ...headers });
      expect([answer.status, answer.json.error.code]).toEqual([409, 'IDEMPOTENCY_CONFLICT']);
      expect(answer.json.error.taskId).toBe(first.json.taskId);
    }
    // How one waits is no part of the request.
    expect((await api.invoke('differs', { a: 1 }, '?wait=1ms', keyed())).json.taskId).toBe(first.json.taskId);
  });
});
