import { beforeAll, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { startPilum, type TestPilum } from '../support/pilum.ts';
import { waitFor } from '../support/wait-for.ts';

let pilum: TestPilum;
const kept = keep();
beforeAll(async () => {
  pilum = kept.add(await startPilum({ env: { PILUM_WORKER_MEMORY_MIB: '256', PILUM_WORKER_CAPACITY: '8' } }));
});

const code = { inline: 'export default (ms) => new Promise((resolve) => setTimeout(() => resolve(ms), ms))' };
const limits = { memoryMiB: 64 };

async function states(artifactId: string): Promise<Record<string, number>> {
  const { json } = await pilum.call('GET', `/v1/tasks?artifact=${artifactId}&limit=100`);
  const counts: Record<string, number> = { pending: 0, running: 0 };
  for (const { status } of json.tasks) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
}

async function calls(artifactId: string, count: number, ms: number): Promise<string[]> {
  const accepted = await Promise.all(Array.from({ length: count }, () => pilum.invoke(artifactId, ms, '?mode=async')));
  return accepted.map(({ body }) => body.taskId);
}

async function completed(taskIds: readonly string[]): Promise<void> {
  for (const taskId of taskIds) {
    const { json } = await pilum.call('GET', `/v1/tasks/${taskId}?wait=20s`);
    expect(json.status).toBe('completed');
  }
}

describe('a worker', () => {
  it('takes no more tasks of an artifact than its pool may have instances', async () => {
    await pilum.deploy('narrow', { code, limits, pool: { max: 2 } });
    const ids = await calls('narrow', 6, 1500);
    await waitFor(async () => (await states('narrow')).running === 2, { what: 'two to run' });
    expect(await states('narrow')).toMatchObject({ running: 2, pending: 4 });
    await completed(ids);
  });

  it('takes no more than its memory has room for, and makes room of what is idle', async () => {
    // The two instances of the test before are idle and hold half of the memory.
    await pilum.deploy('large', { code, limits: { memoryMiB: 128 } });
    const ids = await calls('large', 4, 1500);
    await waitFor(async () => (await states('large')).running === 2, { what: 'two to run' });
    expect(await states('large')).toMatchObject({ running: 2, pending: 2 });
    await completed(ids);
    // And the other way round.
    await completed(await calls('narrow', 4, 1));
  });

  it('runs as many as it has slots of what was never seen there', async () => {
    await pilum.deploy('burst', { code, limits: { memoryMiB: 16 } });
    const ids = await calls('burst', 12, 2500);
    await waitFor(async () => (await states('burst')).running === 8, { what: 'eight to run' });
    await completed(ids);
  });
});
