import { ARTIFACT_INDEX } from '@pilum/core/redis/keys.ts';
import { DEFAULT_SETTINGS } from '@pilum/core/store/artifact-store.ts';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { accept, ticketFor } from '../support/tasks.ts';
import { waitFor } from '../support/wait-for.ts';
import { startApi, type TestApi } from './support/api.ts';
import { json, TestWorker } from './support/worker.ts';

let redis: TestRedis;
let api: TestApi;
let worker: TestWorker;
const kept = keep();
beforeAll(async () => {
  redis = kept.add(await startRedis());
  api = kept.add(await startApi({ url: redis.url }));
  worker = kept.add(new TestWorker(redis.url));
});
beforeEach(() => worker.report());

const remove = (id: string) => api.call('DELETE', `/v1/artifacts/${id}`);

describe('deleting an artifact', () => {
  it('ends its existence: nothing is accepted, nothing is listed', async () => {
    await api.deploy('gone');
    expect((await remove('gone')).json).toEqual({ id: 'gone', cancelled: 0, running: 0 });
    expect((await api.invoke('gone')).json.error.code).toBe('ARTIFACT_NOT_FOUND');
    expect((await api.call('GET', '/v1/artifacts/gone')).json.error.code).toBe('ARTIFACT_NOT_FOUND');
    expect((await api.call('GET', '/v1/artifacts/gone/versions/1')).json.error.code).toBe('ARTIFACT_NOT_FOUND');
    expect((await api.call('GET', '/v1/artifacts')).json.artifacts).toEqual([]);
    expect((await remove('gone')).json.error.code).toBe('ARTIFACT_NOT_FOUND');
  });

  it('cancels what waits, and tells those who wait for it', async () => {
    await api.deploy('crowded');
    const call = api.invoke('crowded');
    await waitFor(() => api.deps.inbox.waiting === 1, { what: 'the wait' });
    const ids: string[] = [];
    for (let i = 0; i < 450; i++) ids.push(await api.accept('crowded'));
    const { json: removal } = await remove('crowded');
    expect(removal).toEqual({ id: 'crowded', cancelled: expect.any(Number), running: 0 });
    // The housekeeper helps where its round comes meanwhile, and what it has cancelled is none of this answer's.
    expect(removal.cancelled).toBeGreaterThan(0);
    expect(removal.cancelled).toBeLessThanOrEqual(451);
    const answer = await call;
    expect([answer.status, answer.json.status, answer.json.error.code]).toEqual([409, 'cancelled', 'TASK_CANCELLED']);
    expect(answer.json.error.message).toContain('was deleted');
    expect(answer.json).toMatchObject({ attempt: 0, timing: { runMs: null, coldStart: null } });
    for (const id of ids) expect((await api.call('GET', `/v1/tasks/${id}`)).json.status).toBe('cancelled');
    expect(await api.deps.queues.of({ namespace: 'default', artifactId: 'crowded' }).isInUse()).toBe(false);
  });

  it('is carried on where the process that began it has died, and refuses what comes from one that has not heard', {
    timeout: 40_000,
  }, async () => {
    await api.deploy('orphaned');
    const id = await api.accept('orphaned');
    const held = await worker.take('orphaned');
    const waiting = await api.accept('orphaned');
    await api.deps.artifacts.delete({ namespace: 'default', artifactId: 'orphaned' });
    const queue = api.deps.queues.of({ namespace: 'default', artifactId: 'orphaned' });
    await expect(accept(queue, ticketFor('orphaned'))).rejects.toMatchObject({ code: 'ARTIFACT_NOT_FOUND' });
    await waitFor(async () => (await api.call('GET', `/v1/tasks/${waiting}`)).json.status === 'cancelled', {
      what: 'the cancellation',
    });
    expect(await worker.redis.zscore(ARTIFACT_INDEX, 'default/orphaned')).toBe('0');
    await worker.end(held!, json('finished'));
    expect((await api.call('GET', `/v1/tasks/${id}`)).json.status).toBe('completed');
    await waitFor(async () => (await worker.redis.zscore(ARTIFACT_INDEX, 'default/orphaned')) === null, {
      what: 'the artifact to be forgotten',
    });
    expect((await api.call('GET', `/v1/tasks/${id}`)).json.error.code).toBe('TASK_NOT_FOUND');
    // Nothing is left but the number of its last version, and for a week what its versions were.
    expect((await worker.redis.keys('{pilum:default:orphaned}:*')).sort()).toEqual(
      ['artifact', 'version-states', 'versions'].map((name) => `{pilum:default:orphaned}:${name}`),
    );
  });

  it('waits for what runs, which finishes', async () => {
    await api.deploy('busy');
    const running = await api.accept('busy');
    const held = await worker.take('busy');
    const waiting = await api.accept('busy');
    const removal = remove('busy');
    await waitFor(async () => (await api.call('GET', `/v1/tasks/${waiting}`)).json.status === 'cancelled', {
      what: 'it',
    });
    if (held) await worker.end(held, json('finished'));
    expect((await removal).json).toEqual({ id: 'busy', cancelled: 1, running: 0 });
    expect((await api.call('GET', `/v1/tasks/${running}`)).json).toMatchObject({
      status: 'completed',
      result: 'finished',
    });
  });

  it('waits no longer than it may, and says how many still run', async () => {
    await api.deploy('stubborn');
    await api.accept('stubborn');
    const held = await worker.take('stubborn');
    const principal = { namespace: 'default', role: 'admin', keyId: 'test', hasKey: false } as const;
    expect(await api.deps.remover.remove(principal, 'stubborn', 50)).toEqual({ cancelled: 0, running: 1 });
    if (held) await worker.end(held, json(1));
  });

  it('leaves the id free for another, whose version numbers go on', async () => {
    await api.deploy('phoenix');
    await api.call('PATCH', '/v1/artifacts/phoenix/settings', { body: { paused: true, maxConcurrency: 1 } });
    const old = await api.accept('phoenix');
    await remove('phoenix');
    const again = await api.deploy('phoenix');
    expect([again.status, again.json.version]).toEqual([201, 2]);
    expect((await api.call('GET', '/v1/artifacts/phoenix')).json.settings).toEqual({
      ...DEFAULT_SETTINGS,
    });
    expect((await api.invoke('phoenix@1')).json.error.code).toBe('VERSION_NOT_FOUND');
    worker.serve('phoenix', (ticket) => json(ticket.version));
    expect((await api.invoke('phoenix')).json.result).toBe(2);
    expect((await api.call('GET', `/v1/tasks/${old}`)).json.status).toBe('cancelled');
  });
});
