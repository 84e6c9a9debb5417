import { beforeAll, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { startPilum, type TestPilum } from '../support/pilum.ts';
import { waitFor } from '../support/wait-for.ts';

const SMALL = { PILUM_WORKER_MEMORY_MIB: '256', PILUM_WORKER_CPU: '2', PILUM_WORKER_CAPACITY: '8' };

let pilum: TestPilum;
const kept = keep();
beforeAll(async () => {
  pilum = kept.add(await startPilum({ env: SMALL }));
});

const code = { inline: 'export default (ms) => new Promise((resolve) => setTimeout(() => resolve(ms), ms))' };
const deploy = (id: string, limits: { cpu?: number; memoryMiB?: number }, more = {}) =>
  pilum.deploy(id, { code, limits: { memoryMiB: 16, ...limits }, ...more });

const worker = async () => (await pilum.call('GET', '/v1/workers')).json.workers[0];
const task = async (id: string, query = '') => (await pilum.call('GET', `/v1/tasks/${id}${query}`)).json;

async function calls(artifactId: string, count: number, ms: number): Promise<string[]> {
  const accepted = await Promise.all(Array.from({ length: count }, () => pilum.invoke(artifactId, ms, '?mode=async')));
  return accepted.map(({ body }) => body.taskId);
}

async function completed(taskIds: readonly string[]): Promise<void> {
  for (const taskId of taskIds) expect((await task(taskId, '?wait=20s')).status).toBe('completed');
}

describe('a worker with two processors', () => {
  it('runs as many tasks as those are enough for, and says what is in use', async () => {
    expect((await worker()).capacity).toEqual({ tasks: 8, cpu: 2, memoryMiB: 256 });
    await deploy('whole', { cpu: 1 });
    await deploy('half', { cpu: 0.5 });
    const whole = await calls('whole', 5, 1200);
    await waitFor(async () => (await worker()).inUse.cpu === 2, { what: 'two processors in use' });
    expect((await worker()).running).toBe(2);
    await completed(whole);
    const half = await calls('half', 8, 1200);
    await waitFor(async () => (await worker()).running === 4, { what: 'four to run' });
    expect((await worker()).inUse).toMatchObject({ cpu: 2 });
    await completed(half);
    await waitFor(async () => (await worker()).inUse.cpu === 0, { what: 'none in use' });
    // Their instances are still there.
    expect((await worker()).inUse.memoryMiB).toBeGreaterThanOrEqual(64);
  });

  it('lets a large task have its turn beside ever more small ones', async () => {
    await deploy('small', { cpu: 0.5 });
    await deploy('both', { cpu: 2 });
    const flood = await calls('small', 100, 150);
    await waitFor(async () => (await worker()).running === 4, { what: 'the flood to run' });
    const { body } = await pilum.invoke('both', 1);
    expect(body.status).toBe('completed');
    expect((await task(flood.at(-1) ?? '')).status).toBe('pending');
    await completed(flood);
  });

  it('lets one that needs all memory have its turn beside a flood that holds it', async () => {
    await deploy('wide', { memoryMiB: 64, cpu: 0.05 });
    await deploy('widest', { memoryMiB: 256, cpu: 0.05 });
    const flood = await calls('wide', 100, 150);
    await waitFor(async () => (await worker()).running === 4, { what: 'the flood to run' });
    const { body } = await pilum.invoke('widest', 1);
    expect(body.status).toBe('completed');
    expect((await task(flood.at(-1) ?? '')).status).toBe('pending');
    await completed(flood);
  });
});

describe('a task that is larger than every worker', () => {
  it('is refused to one who would wait for it, with the reason', async () => {
    await deploy('too-wide', { memoryMiB: 512 });
    await deploy('too-fast', { cpu: 4 });
    for (const id of ['too-wide', 'too-fast']) {
      const { status, body } = await pilum.invoke(id, 1);
      expect([status, body.error?.code]).toEqual([503, 'NO_WORKER']);
      expect(body.error?.message).toContain('no worker has more than 2 and 256');
    }
  });

  it('waits no longer than it may where nobody waits for it', async () => {
    await deploy('impatient', { cpu: 4 }, { timeouts: { queueMs: 2000 } });
    const [id = ''] = await calls('impatient', 1, 1);
    const { status, error } = await task(id, '?wait=20s');
    expect([status, error.code]).toEqual(['timeout', 'QUEUE_TIMEOUT']);
    expect(error.hint).toContain('/v1/workers');
  });

  it('is run by a larger one that comes, and holds up nothing meanwhile', async () => {
    const ids = [...(await calls('too-wide', 2, 1)), ...(await calls('too-fast', 2, 1))];
    expect((await pilum.invoke('whole', 1)).body).toMatchObject({ status: 'completed', workerId: 'worker-1' });
    for (const id of ids) expect((await task(id)).status).toBe('pending');
    await pilum.addWorker({ PILUM_WORKER_MEMORY_MIB: '1024', PILUM_WORKER_CPU: '4' });
    await completed(ids);
    for (const id of ids) expect((await task(id)).workerId).toBe('worker-2');
  });
});
