import { beforeAll, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { startPilum, type TestPilum } from '../support/pilum.ts';
import { waitFor } from '../support/wait-for.ts';

let pilum: TestPilum;
const kept = keep();
beforeAll(async () => {
  pilum = kept.add(await startPilum({ env: { PILUM_DRAIN_MS: '100' } }));
  await pilum.deploy('slow', {
    code: { inline: 'export default (ms) => new Promise((resolve) => setTimeout(() => resolve(ms), ms))' },
    pool: { max: 4 },
  });
});

const instances = async () => (await pilum.call('GET', '/v1/instances')).json.instances;
const worker = async (id: string) =>
  (await pilum.call('GET', '/v1/workers')).json.workers.find((one: { workerId: string }) => one.workerId === id);

describe('an instance', () => {
  it('is stopped at once where it is idle, and after its task where it is not', async () => {
    await pilum.invoke('slow', 1);
    const [idle] = await waitFor(
      async () => {
        const found = await instances();
        return found.length === 1 && found[0].state === 'ready' ? found : null;
      },
      { what: 'an idle instance' },
    );
    const stopped = await pilum.call('DELETE', `/v1/instances/${idle.instanceId}`);
    expect([stopped.status, stopped.json.instanceId]).toEqual([202, idle.instanceId]);
    await waitFor(async () => (await instances()).length === 0, { what: 'its end' });

    const call = pilum.invoke('slow', 4000);
    const [busy] = await waitFor(
      async () => {
        const found = await instances();
        return found.length === 1 && found[0].state === 'running' ? found : null;
      },
      { what: 'a busy instance' },
    );
    expect((await pilum.call('DELETE', `/v1/instances/${busy.instanceId}`)).status).toBe(202);
    expect((await call).body).toMatchObject({ status: 'completed', result: 4000, instanceId: busy.instanceId });
    await waitFor(async () => (await instances()).length === 0, { what: 'its end' });
    const missing = await pilum.call('DELETE', `/v1/instances/${busy.instanceId}`);
    expect([missing.status, missing.json.error.code]).toEqual([404, 'INSTANCE_NOT_FOUND']);
  });
});

describe('a worker that is drained', () => {
  it('finishes what it has, takes nothing new and exits with 0', async () => {
    // Longer than it would wait at a SIGTERM.
    const call = pilum.invoke('slow', 3000);
    await waitFor(async () => (await worker('worker-1'))?.running === 1, {
      what: 'the task to run',
    });
    const drain = await pilum.call('POST', '/v1/workers/worker-1/drain');
    expect([drain.status, drain.json.draining]).toEqual([202, true]);
    await pilum.addWorker();
    const meanwhile = await pilum.invoke('slow', 1);
    expect(meanwhile.body).toMatchObject({ status: 'completed', workerId: 'worker-2' });
    expect((await call).body).toMatchObject({ status: 'completed', workerId: 'worker-1', recoveries: 0 });
    expect(await pilum.workers[0]?.ended).toBe(0);
    expect(await worker('worker-1')).toBeUndefined();
    const missing = await pilum.call('POST', '/v1/workers/worker-1/drain');
    expect([missing.status, missing.json.error.code]).toEqual([404, 'WORKER_NOT_FOUND']);
  });
});
