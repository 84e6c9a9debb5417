// @set whole: it waits for many real silences.
import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { InFlightLimit } from '../../apps/api/src/tasks/in-flight-limit.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';
import { startApi, type TestApi } from './support/api.ts';
import { json, TestWorker } from './support/worker.ts';

/** An API and a worker with a Redis of their own. */
async function open(commandTimeoutMs: number): Promise<{ server: TestRedis; api: TestApi; worker: TestWorker }> {
  const server = await startRedis({ appendonly: true });
  const api = await startApi({ url: server.url, commandTimeoutMs });
  const worker = new TestWorker(server.url);
  onTestFinished(async () => {
    if (server.pid === undefined) await server.restart();
    resume(server);
    await worker.close();
    await api.close();
    await server.close();
  });
  await worker.report();
  await api.deploy('away');
  return { server, api, worker };
}

const stop = ({ pid }: TestRedis) => process.kill(pid ?? 0, 'SIGSTOP');
const resume = ({ pid }: TestRedis) => process.kill(pid ?? 0, 'SIGCONT');

/** Longer than any answer may take, and much shorter than what it would take without a limit of its own. */
const PATIENCE_MS = 60_000;

async function timed<T>(work: Promise<T>): Promise<{ answer: T; tookMs: number }> {
  const since = performance.now();
  return { answer: await work, tookMs: performance.now() - since };
}

const ways = {
  killed: async (server: TestRedis) => {
    await server.kill();
    return () => server.restart();
  },
  stopped: async (server: TestRedis) => {
    stop(server);
    return async () => {
      resume(server);
    };
  },
};

it.each(Object.entries(ways))('while Redis is %s calls are refused, and then served again', async (_how, takeAway) => {
  const { server, api, worker } = await open(1500);
  worker.serve('away', () => json('served'));
  expect((await api.invoke('away')).status).toBe(200);
  const bringBack = await takeAway(server);

  // Some wait for it; all are told.
  const waited = await Promise.all(
    Array.from({ length: 50 }, (_, index) => api.invoke('away', { index }, index % 2 === 0 ? '' : '?mode=async')),
  );
  for (const { status, json: body, headers } of waited) {
    expect([status, body.error.code, headers['retry-after']]).toEqual([503, 'REDIS_UNAVAILABLE', '1']);
  }
  expect(api.deps.redis.isAway).toBe(true);
  expect([api.deps.inFlight.calls, api.deps.inbox.waiting]).toEqual([0, 0]);

  // Now none waits, whatever it asks for, and none leaves anything behind.
  const { tookMs } = await timed(
    (async () => {
      for (let round = 0; round < 50; round++) {
        for (const [method, url] of [
          ['POST', '/v1/artifacts/away/invoke'],
          ['PUT', '/v1/artifacts/other'],
          ['GET', '/v1/artifacts'],
          ['GET', '/v1/tasks'],
          ['GET', '/v1/tasks/away.01J00000000000000000000000?wait=20s'],
          ['PUT', `/v1/blobs/sha256:${'0'.repeat(64)}`],
        ] as const) {
          const isDeploy = url.endsWith('other');
          const options = isDeploy ? { body: { runtime: 'process', code: { inline: '1' } } } : {};
          const { status, json: body } = await api.call(method, url, options);
          expect([url, status, body.error.code]).toEqual([url, 503, 'REDIS_UNAVAILABLE']);
        }
      }
    })(),
  );
  expect(tookMs).toBeLessThan(300 * 1000);
  const ready = await api.call('GET', '/readyz');
  expect([ready.status, ready.json]).toEqual([503, { ready: false, redis: false, workers: null }]);
  expect((await api.call('GET', '/livez')).status).toBe(200);

  // A Redis that wakes before may accept what it had been sent before it was given up.
  await sleep(1500);
  await bringBack();
  await waitFor(async () => (await api.invoke('away')).status === 200, { what: 'a call that is served' });
  await worker.report();
  await waitFor(async () => (await api.call('GET', '/readyz')).status === 200, { what: 'readiness' });
  // No one whose caller was told 503 has been accepted after all.
  const { json: pending } = await api.call('GET', '/v1/tasks?status=pending&limit=100');
  expect(pending.tasks).toEqual([]);
  const { json: done } = await api.call('GET', '/v1/tasks?status=completed&limit=100');
  expect(done.tasks.length).toBeLessThanOrEqual(5);
});

it('a short absence is not seen by callers', async () => {
  const { server, api, worker } = await open(30_000);
  worker.serve('away', () => json('served'));
  expect((await api.invoke('away')).status).toBe(200);
  await server.kill();
  const calls = Promise.all([
    api.invoke('away', {}, '?wait=30s'),
    api.invoke('away', {}, '?wait=30s'),
    api.call('GET', '/v1/artifacts/away'),
  ]);
  await sleep(300);
  await server.restart();
  expect((await calls).map(({ status }) => status)).toEqual([200, 200, 200]);
});

it('a caller whose wait ends while Redis is silent is told that its task is accepted', async () => {
  const { server, api } = await open(PATIENCE_MS);
  const call = timed(api.invoke('away', {}, '?wait=1s'));
  await waitFor(
    async () => (await api.deps.queues.of({ namespace: 'default', artifactId: 'away' }).counts()).waiting === 1,
    { what: 'the job' },
  );
  stop(server);
  const { answer, tookMs } = await call;
  expect([answer.status, answer.json.status]).toEqual([202, 'pending']);
  expect(answer.json.statusEndpoint).toBe(`/v1/tasks/${answer.json.taskId}`);
  expect(tookMs).toBeLessThan(PATIENCE_MS / 10);
});

it('a caller whose wait ends before Redis has accepted its task is told that it may be', async () => {
  const { server, api, worker } = await open(PATIENCE_MS);
  worker.serve('away', () => json('served'));
  const call = (headers = {}) => api.invoke('away', {}, '?wait=1s', headers);
  expect((await call()).status).toBe(200);
  stop(server);
  const { answer, tookMs } = await timed(call());
  expect([answer.status, answer.json.error.code]).toEqual([503, 'REDIS_UNAVAILABLE']);
  expect(answer.json.error.hint).toContain('with an Idempotency-Key');
  expect(tookMs).toBeGreaterThanOrEqual(1000);
  expect(tookMs).toBeLessThan(PATIENCE_MS / 10);
  const { json: keyed } = await call({ 'idempotency-key': 'k' });
  expect(keyed.error.hint).toContain('with the same Idempotency-Key');
  expect(api.deps.inFlight.calls).toBe(0);
  resume(server);
  await waitFor(async () => (await call({ 'idempotency-key': 'k' })).status === 200, { what: 'the repeat' });
});

it('a call that waits for nothing is answered within 5 s, and a poll when its wait is over', async () => {
  const { server, api } = await open(PATIENCE_MS);
  const taskId = await api.accept('away');
  const poll = timed(api.call('GET', `/v1/tasks/${taskId}?wait=1s`));
  await waitFor(() => api.deps.inbox.waiting === 1, { what: 'the poll' });
  stop(server);
  const answers = await Promise.all([
    poll,
    timed(api.invoke('away', {}, '?mode=async')),
    timed(api.invoke('away', {}, '?wait=0s')),
    timed(api.call('GET', `/v1/tasks/${taskId}`)),
    timed(api.call('DELETE', `/v1/tasks/${taskId}`)),
  ]);
  for (const { answer, tookMs } of answers) {
    expect([answer.status, answer.json.error.code]).toEqual([503, 'REDIS_UNAVAILABLE']);
    expect(tookMs).toBeLessThan(PATIENCE_MS / 3);
  }
});

it('an outcome that was recorded while no one could look is given when the wait ends', async () => {
  const { server, api, worker } = await open(PATIENCE_MS);
  const call = api.invoke('away', {}, '?wait=3s');
  const held = await waitFor(() => worker.take('away'), { what: 'the task' });
  await worker.end(held, json('done'), null);
  stop(server);
  await sleep(200);
  resume(server);
  const answer = await call;
  expect([answer.status, answer.json.result]).toEqual([200, 'done']);
});

it('no more calls and bytes wait for Redis than may', () => {
  const inFlight = new InFlightLimit({ calls: 3, bytes: 1000 });
  const leave = inFlight.enter(5000); // alone, whatever its size
  expect(() => inFlight.enter(1)).toThrow(expect.objectContaining({ code: 'REDIS_UNAVAILABLE' }));
  leave();
  leave();
  const leaves = [inFlight.enter(300), inFlight.enter(300)];
  expect(() => inFlight.enter(401)).toThrow(/2 calls with 600 bytes/);
  leaves.push(inFlight.enter(400));
  expect(() => inFlight.enter(0)).toThrow();
  for (const each of leaves) each();
  expect(inFlight.calls).toBe(0);
  inFlight.enter(1000);
});

it('a Redis without memory can be read, and keeps nothing of what it could not take', async () => {
  const { api, worker } = await open(5000);
  const taskId = await api.accept('away');
  await worker.end((await worker.take('away'))!, json('done'));
  const pendingId = await api.accept('away');
  const upload = async (body: Buffer) => {
    const digest = `sha256:${createHash('sha256').update(body).digest('hex')}`;
    return await api.call('PUT', `/v1/blobs/${digest}`, {
      body,
      headers: { 'content-type': 'application/octet-stream' },
    });
  };
  const memory = async () => Number(/^used_memory:(\d+)/m.exec(await api.redis.info('memory'))?.[1]);
  const blobs = async () => (await api.redis.keys('{pilum:*blob*')).sort();
  const usage = async () => await api.deps.blobs.usage();
  const before = { keys: await blobs(), usage: await usage() };
  const large = randomBytes(8 * 1_048_576);
  try {
    // Room for some of it.
    await api.redis.config('SET', 'maxmemory', String((await memory()) + 3 * 1_048_576));
    const refused = await upload(large);
    expect([refused.status, refused.json.error.code]).toEqual([503, 'REDIS_UNAVAILABLE']);
    expect(refused.json.error.message).toContain('out of memory');
    expect(refused.json.error.hint).toContain('maxmemory');
    expect({ keys: await blobs(), usage: await usage() }).toEqual(before);

    await api.redis.config('SET', 'maxmemory', '1');
    const deploy = await api.call('PUT', '/v1/artifacts/never', {
      body: { runtime: 'process', code: { inline: 'export default () => 1' } },
    });
    expect([deploy.status, deploy.json.error.code]).toEqual([503, 'REDIS_UNAVAILABLE']);
    expect({ keys: await blobs(), usage: await usage() }).toEqual(before);
    expect((await api.call('GET', '/v1/artifacts/never')).status).toBe(404);

    expect((await api.call('GET', `/v1/tasks/${taskId}`)).json.result).toBe('done');
    expect((await api.call('GET', `/v1/tasks/${pendingId}?wait=500ms`)).json.status).toBe('pending');
    expect((await api.call('GET', '/v1/tasks')).json.tasks).toHaveLength(2);
    expect((await api.call('GET', '/v1/artifacts/away')).status).toBe(200);
  } finally {
    await api.redis.config('SET', 'maxmemory', '0');
  }
  expect((await upload(large)).status).toBe(201);
});
