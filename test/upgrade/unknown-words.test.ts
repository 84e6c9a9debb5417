// @needs bubblewrap

import { TaskQueues } from '@pilum/core/queue/task-queues.ts';
import { connect, type Redis } from '@pilum/core/redis/connect.ts';
import { artifactKeys, taskKeys, WORKER_INDEX, workerKey } from '@pilum/core/redis/keys.ts';
import type { WorkerInfo } from '@pilum/core/schemas/worker.ts';
import { WorkerRegistry } from '@pilum/core/store/worker-registry.ts';
import { beforeAll, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { startPilum, type TestPilum } from '../support/pilum.ts';
import { accept, outcomeFor, ticketFor } from '../support/tasks.ts';
import { waitFor } from '../support/wait-for.ts';

// Records as a release after this one may write them, with words that this one does not know. The processes are real.

const kept = keep();
let pilum: TestPilum;
let redis: Redis;
let queues: TaskQueues;
beforeAll(async () => {
  pilum = kept.add(await startPilum());
  redis = kept.add(connect({ url: pilum.redis.url, name: 'newer' }, () => undefined));
  queues = kept.add(new TaskQueues(redis));
});

/** Deploys version 1, and writes a version 2 that says something else. */
async function deployBoth(id: string, change: object): Promise<void> {
  await pilum.deploy(id, { code: { inline: 'export default () => 1' } });
  const keys = artifactKeys({ namespace: 'default', artifactId: id });
  const first = JSON.parse((await redis.hget(keys.versions, '1')) ?? '') as { spec: object };
  const second = { ...first, version: 2, contentHash: 'newer', spec: { ...first.spec, ...change } };
  await redis.hset(keys.versions, '2', JSON.stringify(second));
  await redis.hset(keys.versionStates, '2', 'ready');
  await redis.zadd(keys.deployments, Date.now() * 2, '2');
  await redis.hset(keys.artifact, 'latestVersion', '2');
  await redis.publish('pilum:changed', `default/${id}`);
}

describe('a version of a runtime that this release does not know', () => {
  beforeAll(() => deployBoth('vm', { runtime: 'vm' }));

  it('is shown beside the others, with what this release does not know of it', async () => {
    const { status, json } = await pilum.call('GET', '/v1/artifacts/vm');
    expect(status).toBe(200);
    expect(json.versions.map(({ version, spec }: never) => [version, (spec as { runtime: string }).runtime])).toEqual([
      [2, 'vm'],
      [1, 'process'],
    ]);
    expect(json).toMatchObject({ currentVersion: 2 });
    expect(json.warnings).toEqual([expect.stringContaining('Version 2 of vm is of a newer release')]);
    expect((await pilum.call('GET', '/v1/artifacts/vm/versions/2')).json).toMatchObject({ spec: { runtime: 'vm' } });
    expect((await pilum.call('GET', '/v1/artifacts')).json.artifacts).toHaveLength(1);
    expect((await pilum.call('GET', '/metrics')).status).toBe(200);
  });

  it('is not called, nor is another one in its place, and the others are', async () => {
    await waitFor(async () => (await pilum.invoke('vm', {})).status === 503, { what: 'the new version' });
    const { body } = await pilum.invoke('vm', {});
    expect(body.error).toMatchObject({ code: 'RELEASE_TOO_OLD', details: { problems: [{ where: '/spec/runtime' }] } });
    expect((await pilum.invoke('vm@1', {})).body.result).toBe(1);
  });

  it('has its tasks left to workers that know it, and those of other versions are run', async () => {
    const ticket = ticketFor('vm', { version: 2, mode: 'async' });
    await accept(queues.of({ namespace: 'default', artifactId: 'vm' }), ticket);
    await waitFor(() => pilum.workers[0]?.output().includes('"event":"task-unknown"'), { what: 'the refusal' });
    // The worker holds it while it looks at it, now and again.
    const isPending = async () => (await pilum.call('GET', `/v1/tasks/${ticket.taskId}`)).json.status === 'pending';
    await waitFor(isPending, { what: 'the task in its queue' });
    // The worker is left the queue for a while, and then takes what it knows.
    expect((await pilum.invoke('vm@1', {}, '?wait=50s')).body.result).toBe(1);
    await waitFor(isPending, { what: 'the task in its queue' });
    expect((await pilum.call('DELETE', `/v1/tasks/${ticket.taskId}`)).status).toBe(200);
  });
});

describe('a task of a mode that this release does not know', () => {
  it('is shown and cancelled, and not run', async () => {
    await pilum.deploy('modes', { code: { inline: 'export default () => 1' } });
    const ticket = ticketFor('modes', { mode: 'batch' as 'async' });
    await accept(queues.of({ namespace: 'default', artifactId: 'modes' }), ticket);
    await waitFor(() => pilum.workers[0]?.output().includes(ticket.taskId), { what: 'the refusal' });
    const path = `/v1/tasks/${ticket.taskId}`;
    const isPending = async () => (await pilum.call('GET', path)).json.status === 'pending';
    await waitFor(isPending, { what: 'the task in its queue' });
    expect((await pilum.call('GET', path)).json).toMatchObject({ mode: 'batch', attempt: 0 });
    expect((await pilum.call('GET', `${path}/payload`)).json).toMatchObject({ error: { code: 'RELEASE_TOO_OLD' } });
    expect((await pilum.call('DELETE', path)).status).toBe(200);
    expect((await pilum.call('GET', path)).json).toMatchObject({ status: 'cancelled' });
  });
});

describe('an outcome with words that this release does not know', () => {
  it('is shown in a page with the others, with what can be said of it', async () => {
    await pilum.deploy('ends', { code: { inline: 'export default () => 1' } });
    const { body } = await pilum.invoke('ends', {});
    const { outcome, artifactId } = { ...taskKeys({ namespace: 'default', taskId: body.taskId }), artifactId: 'ends' };
    const known = outcomeFor(ticketFor(artifactId), { status: 'failed' });
    const others = [
      { ...known, error: { code: 'QUOTA_USED', message: 'Too much.' } },
      { ...known, status: 'skipped' },
    ];
    for (const other of others) {
      const { taskId } = ticketFor(artifactId);
      const ulid = taskId.slice(artifactId.length + 1);
      await redis.set(taskKeys({ namespace: 'default', taskId }).outcome, JSON.stringify({ ...other, taskId }));
      await redis.zadd(artifactKeys({ namespace: 'default', artifactId }).settled('failed'), 0, ulid);
    }
    expect(await redis.exists(outcome)).toBe(1);
    const { status, json } = await pilum.call('GET', '/v1/tasks?artifact=ends');
    expect(status).toBe(200);
    const errors = json.tasks.map(({ error }: { error?: { code: string } }) => error?.code);
    expect(errors.sort()).toEqual(['INTERNAL', 'RELEASE_TOO_OLD', undefined]);
  });
});

describe('a worker of a newer release', () => {
  it('is listed with the words that it has, and is sent orders', async () => {
    const now = new Date().toISOString();
    const worker = {
      ...{ workerId: 'newer', host: 'h', pid: 1, release: '9', startedAt: now, seenAt: now, running: 0, attached: 0 },
      ...{ capacity: { tasks: 1, cpu: 1, memoryMiB: 64, gpu: 1 }, inUse: { cpu: 0, memoryMiB: 0 } },
      runtimes: [{ kind: 'vm', available: true, isolation: 'hypervisor', limits: [], notes: [] }],
    };
    await redis.set(workerKey('newer'), JSON.stringify(worker), 'EX', 600);
    await redis.zadd(WORKER_INDEX, Date.now(), 'newer');
    const { json } = await pilum.call('GET', '/v1/workers');
    const listed = (json.workers as WorkerInfo[]).map(({ workerId, runtimes }) => [workerId, runtimes[0]?.kind]);
    expect(listed).toContainEqual(['newer', 'vm']);
    expect(listed).toContainEqual(['worker-1', expect.any(String)]);
    expect((await pilum.call('GET', '/readyz')).status).toBe(200);
  });

  it('sends orders with more in them, which are obeyed, and others, which are refused in the log', async () => {
    const registry = new WorkerRegistry(redis);
    const before = await waitFor(async () =>
      (await registry.workers()).find(({ workerId }) => workerId === 'worker-1'),
    );
    expect(await registry.tell('worker-1', { order: 'rebalance' } as never)).toBe(true);
    await waitFor(() => pilum.workers[0]?.output().includes('"event":"order-unknown"'), { what: 'the refusal' });
    expect(before.draining).toBeUndefined();
    expect(await registry.tell('worker-1', { order: 'drain', by: 'ops' } as never)).toBe(true);
    expect(await pilum.workers[0]?.ended).toBe(0);
  });
});
