import { connect, type Redis } from '@pilum/core/redis/connect.ts';
import { beforeAll, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { startPilum, type TestPilum } from '../support/pilum.ts';
import { waitFor } from '../support/wait-for.ts';

let pilum: TestPilum;
let redis: Redis;
const kept = keep();
beforeAll(async () => {
  pilum = kept.add(await startPilum({ env: { PILUM_DRAIN_MS: '300', PILUM_KILL_GRACE_MS: '100' } }));
  redis = kept.add(connect({ url: pilum.redis.url, name: 'test' }, () => undefined));
  await pilum.deploy('slow', {
    code: { inline: 'export default (ms) => new Promise((resolve) => setTimeout(() => resolve(ms), ms))' },
  });
});

const read = async (taskId: string) => (await pilum.call('GET', `/v1/tasks/${taskId}`)).json;

describe('a Redis that is out of memory', () => {
  it('accepts nothing and leaves nothing half-written; what runs is settled when there is memory again', async () => {
    const { taskId } = (await pilum.invoke('slow', 300, '?mode=async')).body;
    await waitFor(async () => (await read(taskId)).status === 'running', { what: 'the task to run' });
    await redis.config('SET', 'maxmemory', '1');
    const keys = await redis.dbsize();
    for (const body of ['1', `"${'x'.repeat(100_000)}"`]) {
      const refused = await pilum.call('POST', '/v1/artifacts/slow/invoke?mode=async', { body });
      expect([refused.status, refused.json.error.code]).toEqual([503, 'REDIS_UNAVAILABLE']);
      expect(refused.json.error.message).toContain('OOM');
    }
    // The function has long ended; its worker keeps what it came to.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect((await read(taskId)).status).toBe('running');
    expect(await redis.dbsize()).toBeLessThanOrEqual(keys);
    await redis.config('SET', 'maxmemory', '0');
    await waitFor(async () => (await read(taskId)).status === 'completed', { what: 'the outcome' });
    expect(await read(taskId)).toMatchObject({ result: 300, attempt: 1, recoveries: 0 });
    expect((await pilum.invoke('slow', 1)).status).toBe(200);
  });
});

describe('a Redis that is nearly full', () => {
  it('accepts nothing new, and takes the outcomes of what was accepted before', async () => {
    const { taskId } = (await pilum.invoke('slow', 3000, '?mode=async')).body;
    await waitFor(async () => (await read(taskId)).status === 'running', { what: 'the task to run' });
    const used = Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))?.[1]);
    await redis.config('SET', 'maxmemory', String(Math.floor(used * 1.08)));
    let refused: Awaited<ReturnType<TestPilum['call']>> | undefined;
    await waitFor(
      async () => {
        refused = await pilum.call('POST', '/v1/artifacts/slow/invoke?mode=async', { body: '1' });
        return refused.status === 503;
      },
      { what: 'a refusal' },
    );
    expect(refused?.json.error.code).toBe('REDIS_UNAVAILABLE');
    expect(refused?.json.error.message).toMatch(/9\d % of its maxmemory/);
    await waitFor(async () => (await read(taskId)).status === 'completed', { what: 'the outcome', timeoutMs: 8000 });
    await redis.config('SET', 'maxmemory', '0');
    await waitFor(async () => (await pilum.invoke('slow', 1)).status === 200, { what: 'a call that is accepted' });
  });
});

describe('a worker that is told to stop while Redis is away', () => {
  it('ends within a limit', async () => {
    const worker = await pilum.addWorker();
    await pilum.redis.kill();
    worker.signal('SIGTERM');
    expect(await worker.ended).toBe(1);
    expect(worker.output()).toContain('could not stop in good order within its time');
    await pilum.redis.restart();
  });
});
