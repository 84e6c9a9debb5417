// @set whole: it starts the process of the API a dozen times.
import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { launchModule } from '../support/launch.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';
import { json, TestWorker } from './support/worker.ts';

const MAIN = fileURLToPath(new URL('../../apps/api/src/main.ts', import.meta.url));
const MIB = 1_048_576;

let redis: TestRedis;
const started: ChildProcess[] = [];
const kept = keep();
beforeAll(async () => {
  redis = kept.add(await startRedis());
});
afterEach(() => {
  for (const child of started.splice(0)) child.kill('SIGKILL');
});

interface Api {
  readonly child: ChildProcess;
  readonly url: string;
  readonly ready: Promise<unknown>;
  readonly ended: Promise<number | string>;
  lines(): { level: number; msg: string }[];
}

function start(environment: Record<string, string> = {}): Api {
  const child = launchModule(MAIN, [], {
    env: {
      PATH: process.env.PATH,
      PILUM_REDIS_URL: redis.url,
      PILUM_PORT: '0',
      PILUM_DEPLOY_CHECK: 'false',
      ...environment,
    },
    stdio: ['ignore', 'pipe', 'ignore', 'ipc'],
  });
  started.push(child);
  let text = '';
  child.stdout?.on('data', (chunk) => {
    text += chunk;
  });
  const lines = () =>
    text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line));
  const port = () =>
    lines()
      .map(({ msg }) => /^listening on http:.*:(\d+)$/.exec(msg)?.[1])
      .find((found) => found !== undefined);
  return {
    child,
    get url() {
      return `http://127.0.0.1:${port()}`;
    },
    // The line with its port comes another way than the message, and may come later.
    ready: once(child, 'message').then(async ([message]) => {
      await waitFor(port, { what: 'the line that says where it listens' });
      return message;
    }),
    ended: once(child, 'close').then(([code, signal]) => code ?? signal),
    lines,
  };
}

const messagesOf = (api: Api, level: number) =>
  api
    .lines()
    .filter((line) => line.level >= level)
    .map((line) => line.msg);

describe('starting', () => {
  it('says ready when calls are answered', async () => {
    const api = start();
    expect(await api.ready).toBe('ready');
    expect((await fetch(`${api.url}/livez`)).status).toBe(200);
    expect(messagesOf(api, 30)).toContain(`listening on ${api.url}`);
  });

  it('waits for a Redis that is not there yet, and says so meanwhile', async () => {
    const late = await startRedis();
    await late.kill();
    const api = start({ PILUM_REDIS_URL: late.url });
    await waitFor(async () => (await fetch(`${api.url}/readyz`)).status === 503, { what: 'the port' });
    expect(await (await fetch(`${api.url}/readyz`)).json()).toEqual({ ready: false, redis: false, workers: null });
    await waitFor(() => messagesOf(api, 40).length > 0, { what: 'a line of the log' });
    await late.restart();
    expect(await api.ready).toBe('ready');
    const worker = new TestWorker(late.url);
    await worker.report();
    await waitFor(async () => (await fetch(`${api.url}/readyz`)).status === 200, { what: 'readiness' });
    await fetch(`${api.url}/v1/artifacts/late`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ runtime: 'process', code: { inline: '1' } }),
    });
    worker.serve('late', () => json('served'));
    const answer = await fetch(`${api.url}/v1/artifacts/late/invoke`, { method: 'POST' });
    expect(await answer.json()).toMatchObject({ result: 'served' });
    await worker.close();
    await late.close();
  });

  it('can be stopped while it waits for Redis', async () => {
    const api = start({ PILUM_REDIS_URL: 'unix:///nowhere/redis.sock' });
    await waitFor(async () => (await fetch(`${api.url}/livez`)).status === 200, { what: 'the port' });
    api.child.kill('SIGTERM');
    expect(await api.ended).toBe(0);
  });

  it('ends with 78 and a line for each problem of the configuration', async () => {
    const api = start({ PILUM_PORT: 'http', PILUM_NONSENSE: '1', PILUM_API_KEY: 'short' });
    expect(await api.ended).toBe(78);
    const problems = messagesOf(api, 50);
    expect(problems).toHaveLength(3);
    for (const name of ['PILUM_PORT', 'PILUM_NONSENSE', 'PILUM_API_KEY']) {
      expect(problems.filter((line) => line.startsWith(name))).toHaveLength(1);
    }
  });

  it('off loopback needs a key', async () => {
    const api = start({ PILUM_HOST: '0.0.0.0' });
    expect(await api.ended).toBe(78);
    expect(messagesOf(api, 50)).toEqual([expect.stringMatching(/^PILUM_HOST is 0\.0\.0\.0.*PILUM_API_KEY/)]);
    const keyed = start({ PILUM_HOST: '0.0.0.0', PILUM_API_KEY: 'a-key-of-16-chars-or-more' });
    await keyed.ready;
    expect((await fetch(`${keyed.url}/v1/artifacts`)).status).toBe(401);
    const headers = { authorization: 'Bearer a-key-of-16-chars-or-more' };
    expect((await fetch(`${keyed.url}/v1/artifacts`, { headers })).status).toBe(200);
    expect(JSON.stringify(keyed.lines())).not.toContain('a-key-of');
  });

  it('gives no function the network of the machine where one would have all of Pilum there', async () => {
    const keyless = start({ PILUM_ALLOW_HOST_NETWORK: 'true' });
    expect(await keyless.ended).toBe(78);
    expect(messagesOf(keyless, 50).join()).toContain('set PILUM_API_KEY');
    const key = { PILUM_ALLOW_HOST_NETWORK: 'true', PILUM_API_KEY: 'k'.repeat(16) };
    const open = start({ ...key, PILUM_REDIS_URL: 'redis://127.0.0.1:1' });
    expect(await open.ended).toBe(78);
    expect(messagesOf(open, 50).join()).toContain('Redis asks for no password');
    expect(await start(key).ready).toBe('ready');
  });

  it('says in one sentence that its port is taken', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as { port: number };
    const api = start({ PILUM_PORT: String(port) });
    expect(await api.ended).toBe(1);
    expect(messagesOf(api, 50)).toEqual([
      `127.0.0.1:${port} is in use by another program: choose another with PILUM_HOST and PILUM_PORT.`,
    ]);
    taken.close();
  });

  it('refuses a Redis that a newer release has written to', async () => {
    const newer = await startRedis();
    const worker = new TestWorker(newer.url);
    await worker.redis.set('{pilum}:schemaVersion', '99');
    const api = start({ PILUM_REDIS_URL: newer.url });
    expect(await api.ended).toBe(78);
    expect(messagesOf(api, 50)[0]).toContain('schemaVersion 99');
    await worker.close();
    await newer.close();
  });
});

describe('stopping', () => {
  const deployAndCall = async (api: Api, id: string) => {
    await fetch(`${api.url}/v1/artifacts/${id}`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ runtime: 'process', code: { inline: '1' } }),
    });
    return fetch(`${api.url}/v1/artifacts/${id}/invoke`, { method: 'POST' });
  };

  it('answers what waits, and takes no new connections', async () => {
    const worker = new TestWorker(redis.url);
    await worker.report();
    const api = start();
    await api.ready;
    const call = deployAndCall(api, 'drained');
    const held = await waitFor(() => worker.take('drained'), { what: 'the task' });
    api.child.kill('SIGTERM');
    await waitFor(
      () =>
        fetch(`${api.url}/livez`).then(
          () => false,
          () => true,
        ),
      { what: 'the end of listening' },
    );
    await worker.end(held, json('still answered'));
    const answer = await call;
    expect(answer.headers.get('connection')).toBe('close');
    expect([answer.status, ((await answer.json()) as { result: unknown }).result]).toEqual([200, 'still answered']);
    expect(await api.ended).toBe(0);
    await worker.close();
  });

  it('answers 202 to those whose task does not end in time', async () => {
    const worker = new TestWorker(redis.url);
    await worker.report();
    const api = start({ PILUM_DRAIN_MS: '200' });
    await api.ready;
    const call = deployAndCall(api, 'unended');
    await waitFor(() => worker.take('unended'), { what: 'the task' });
    api.child.kill('SIGTERM');
    expect((await call).status).toBe(202);
    expect(await api.ended).toBe(0);
    await worker.close();
  });

  it('happens when its parent is gone, and at once at a second signal', async () => {
    const orphan = start();
    await orphan.ready;
    const exited = once(orphan.child, 'exit'); // of a child that is not listened to any more there is no close
    orphan.child.disconnect();
    expect(await exited).toEqual([0, null]);
    const worker = new TestWorker(redis.url);
    await worker.report();
    const forced = start();
    await forced.ready;
    deployAndCall(forced, 'forced').catch(() => undefined);
    await waitFor(() => worker.take('forced'), { what: 'the task' });
    forced.child.kill('SIGTERM');
    await waitFor(() => messagesOf(forced, 30).some((line) => line.startsWith('SIGTERM: ')), { what: 'the first' });
    forced.child.kill('SIGTERM');
    expect(await forced.ended).toBe(1);
    await worker.close();
  });
});

describe('memory', () => {
  const highWaterMark = (pid = 0) =>
    Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024;

  it('stays bounded while 200 MB are uploaded', async () => {
    const api = start();
    await api.ready;
    const piece = Buffer.alloc(64 * 1024, 9);
    const pieces = 3200;
    const hash = createHash('sha256');
    for (let i = 0; i < pieces; i++) hash.update(piece);
    await fetch(`${api.url}/v1/workers`);
    const before = highWaterMark(api.child.pid);
    const call = request(`${api.url}/v1/blobs/sha256:${hash.digest('hex')}`, { method: 'PUT' });
    const answered = once(call, 'response');
    const began = performance.now();
    await pipeline(Readable.from(Array.from({ length: pieces }, () => piece)), call);
    const [response] = await answered;
    response.resume();
    const grown = highWaterMark(api.child.pid) - before;
    const tookMs = Math.round(performance.now() - began);
    console.log(`200 MiB uploaded in ${tookMs} ms, the process grew by ${Math.round(grown / MIB)} MiB at most`);
    expect(response.statusCode).toBe(201);
    expect(grown).toBeLessThan(100 * MIB);
  });
});
