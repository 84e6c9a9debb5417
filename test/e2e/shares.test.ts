import { beforeAll, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { startPilum, type TestPilum } from '../support/pilum.ts';
import { waitFor } from '../support/wait-for.ts';

let pilum: TestPilum;
const kept = keep();
beforeAll(async () => {
  pilum = kept.add(await startPilum({ env: { PILUM_WORKER_CAPACITY: '4' } }));
});

const code = { inline: 'export default (ms) => new Promise((resolve) => setTimeout(() => resolve(ms), ms))' };
const settings = (id: string, body: object) => pilum.call('PATCH', `/v1/artifacts/${id}/settings`, { body });

async function flood(id: string, count: number, ms: number): Promise<void> {
  await Promise.all(Array.from({ length: count }, () => pilum.invoke(id, ms, '?mode=async')));
}

async function done(id: string): Promise<number> {
  let count = 0;
  for (let before = ''; ; ) {
    const query = `artifact=${id}&status=completed&limit=100${before === '' ? '' : `&before=${before}`}`;
    const { tasks, next } = (await pilum.call('GET', `/v1/tasks?${query}`)).json;
    count += tasks.length;
    if (next === null) return count;
    before = next;
  }
}

describe('two artifacts that both have a backlog', () => {
  it('share the slots by weight, also when it changes meanwhile', async () => {
    for (const id of ['light', 'heavy']) await pilum.deploy(id, { code, pool: { min: 4 } });
    await settings('heavy', { weight: 4 });
    await settings('light', { paused: true });
    await settings('heavy', { paused: true });
    await Promise.all([flood('light', 150, 20), flood('heavy', 150, 20)]);
    await Promise.all([settings('light', { paused: false }), settings('heavy', { paused: false })]);
    await waitFor(async () => (await done('heavy')) >= 100, { what: 'most of the heavy ones' });
    // A quarter of as many, give or take what was begun before both were there.
    expect(await done('light')).toBeLessThan(70);
    expect(await done('light')).toBeGreaterThan(5);
    await waitFor(async () => (await done('light')) === 150, { what: 'the rest' });
  });
});

describe('an artifact with reserved slots', () => {
  it('is run at once, whatever else runs', async () => {
    for (const id of ['vip', 'greedy']) await pilum.deploy(id, { code });
    await settings('vip', { reserved: 1 });
    await pilum.invoke('vip', 1);
    await flood('greedy', 4, 4000);
    await waitFor(async () => (await pilum.call('GET', '/v1/workers')).json.workers[0].running === 3, {
      what: 'three to run',
    });
    const { body } = await pilum.invoke('vip', 1);
    // Before any of the others has ended.
    expect(body.timing.queuedMs).toBeLessThan(3500);
  });
});

describe('priorities', () => {
  it('are kept among the tasks of an artifact', async () => {
    await pilum.deploy('ordered', { code });
    await settings('ordered', { paused: true, maxConcurrency: 1 });
    const ids: string[] = [];
    for (const priority of [9, 5, 0])
      ids.push((await pilum.invoke('ordered', 1, `?mode=async&priority=${priority}`)).body.taskId);
    await settings('ordered', { paused: false });
    const starts = await Promise.all(
      ids.map(async (id) =>
        Date.parse((await pilum.call('GET', `/v1/tasks/${id}?wait=10s`)).json.attempts[0].startedAt),
      ),
    );
    expect([...starts].sort((a, b) => a - b)).toEqual([...starts].reverse());
  });
});
