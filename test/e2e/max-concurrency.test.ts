import { connect } from '@pilum/core/redis/connect.ts';
import { artifactKeys, QUEUE_NAME } from '@pilum/core/redis/keys.ts';
import { beforeAll, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { startPilum, type TestPilum } from '../support/pilum.ts';
import { waitFor } from '../support/wait-for.ts';

let pilum: TestPilum;
const kept = keep();
beforeAll(async () => {
  pilum = kept.add(await startPilum({ workers: 2, env: { PILUM_WORKER_CAPACITY: '4' } }));
});

const code = { inline: 'export default (ms) => new Promise((resolve) => setTimeout(() => resolve(ms), ms))' };

describe('maxConcurrency', () => {
  it('holds over all workers, and can be changed while tasks wait', async () => {
    const redis = connect({ url: pilum.redis.url, name: 'test' }, () => undefined);
    const active = () =>
      redis.llen(`${artifactKeys({ namespace: 'default', artifactId: 'narrow' }).queuePrefix}:${QUEUE_NAME}:active`);
    const allow = (maxConcurrency: number | null) =>
      pilum.call('PATCH', '/v1/artifacts/narrow/settings', { body: { maxConcurrency } });
    await pilum.deploy('narrow', { code, limits: { memoryMiB: 64 } });
    await allow(3);
    const ids: string[] = [];
    for (let i = 0; i < 60; i++) ids.push((await pilum.invoke('narrow', 300, '?mode=async')).body.taskId);
    let most = 0;
    const untilActive = (count: number) =>
      waitFor(
        async () => {
          const now = await active();
          most = Math.max(most, now);
          return now === count;
        },
        { what: `${count} to run` },
      );
    await untilActive(3);
    for (let i = 0; i < 200; i++) most = Math.max(most, await active());
    expect(most).toBe(3);
    await allow(null);
    // All slots of both.
    await untilActive(8);
    expect(most).toBe(8);
    const workers = new Set<string>();
    for (const id of ids) {
      const { json } = await pilum.call('GET', `/v1/tasks/${id}?wait=20s`);
      expect(json).toMatchObject({ status: 'completed' });
      workers.add(json.workerId);
    }
    expect([...workers].sort()).toEqual(['worker-1', 'worker-2']);
    redis.disconnect();
  });
});
