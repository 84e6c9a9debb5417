import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { packed } from '../support/packed.ts';
import { startPilum, type TestPilum } from '../support/pilum.ts';
import { waitFor } from '../support/wait-for.ts';

const EXPRESS = `
  import express from 'express';
  const app = express();
  const id = String(Math.random());
  app.get('/', (request, answer) => answer.json({ framework: 'express', query: request.query, prefix: request.get('x-forwarded-prefix') }));
  app.post('/', express.json(), (request, answer) => answer.json({ got: request.body }));
  app.post('/size', express.raw({ type: '*/*', limit: '20mb' }), (request, answer) => answer.json({ size: request.body.length }));
  app.get('/large', (_, answer) => answer.type('bin').send(Buffer.alloc(9_000_000, 'x')));
  app.get('/redirect', (_, answer) => answer.redirect('/elsewhere'));
  app.get('/cookie', (_, answer) => answer.cookie('session', '1', { httpOnly: true }).send('set'));
  app.get('/teapot', (_, answer) => answer.status(418).send('short and stout'));
  app.get('/fails', () => { throw new Error('a handler of express'); });
  app.get('/stream', async (_, answer) => {
    for (let i = 1; i <= 3; i++) { answer.write('part ' + i + '\\n'); await new Promise((go) => setTimeout(go, 200)); }
    answer.end();
  });
  app.get('/id', async (_, answer) => { await new Promise((go) => setTimeout(go, 400)); answer.send(id); });
  app.get('/hangs', () => undefined);
  app.get('/crash', () => process.exit(9));
  app.get('/late-crash', (_, answer) => { answer.write('a part'); setTimeout(() => process.exit(9), 100); });
  app.get('/prints', (_, answer) => { console.log('a line of the log'); answer.send('printed'); });
  app.listen(process.env.PORT);`;

const FASTIFY = `
  import fastify from 'fastify';
  const app = fastify({ bodyLimit: 20_000_000 });
  app.addContentTypeParser('*', { parseAs: 'buffer' }, async (_, body) => body);
  app.all('/', async (request) => ({ framework: 'fastify', method: request.method, query: request.query, body: request.body }));
  app.post('/size', async (request) => ({ size: request.body.length }));
  app.get('/missing', async (_, reply) => reply.code(404).send({ no: 'such thing' }));
  app.get('/redirect', async (_, reply) => reply.redirect('/elsewhere', 303));
  app.get('/stream', async (_, reply) => {
    async function* parts() { for (let i = 1; i <= 3; i++) { yield 'part ' + i + '\\n'; await new Promise((go) => setTimeout(go, 200)); } }
    const { Readable } = await import('node:stream');
    return reply.type('text/plain').send(Readable.from(parts()));
  });
  app.get('/health', async () => 'fine');
  app.get('/wait', async () => { running++; most = Math.max(most, running); await new Promise((go) => setTimeout(go, 300)); running--; return { most, pid: process.pid }; });
  let running = 0, most = 0;
  await app.listen({ port: Number(process.env.PORT), host: '0.0.0.0' });`;

let pilum: TestPilum;
const kept = keep();
beforeAll(async () => {
  pilum = kept.add(
    await startPilum({
      env: { PILUM_STREAM_READER_GRACE_MS: '1000', PILUM_WORKER_CPU: '16', PILUM_WORKER_MEMORY_MIB: '4096' },
    }),
  );
  await deployPackage('expressed', EXPRESS, ['express'], {});
  await deployPackage('fastified', FASTIFY, ['fastify'], { http: { healthPath: '/health' } });
});

async function deployPackage(
  id: string,
  server: string,
  packages: string[],
  spec: Record<string, unknown>,
): Promise<void> {
  const { bytes, digest } = await packed({ 'server.mjs': server }, packages);
  const put = await pilum.call('PUT', `/v1/blobs/${digest}`, { body: bytes });
  expect(put.status, put.text).toBeLessThan(300);
  await deployServer(id, { code: { digest, format: 'tar' }, command: ['node', 'server.mjs'], ...spec });
}

async function deployServer(id: string, spec: Record<string, unknown>): Promise<void> {
  await pilum.deploy(id, { protocol: 'http', timeouts: { startMs: 15_000 }, ...spec });
}

const fn = (path: string, init: RequestInit = {}) => fetch(`${pilum.url}/fn/${path}`, { redirect: 'manual', ...init });
const errorOf = async (answer: Response) =>
  ((await answer.json()) as { error: { code: string; message: string } }).error;

describe('a server of Express, as npm has it', () => {
  it('answers with its own status, headers and body', async () => {
    const answer = await fn('expressed?a=1');
    expect([answer.status, answer.headers.get('x-powered-by'), await answer.json()]).toEqual([
      200,
      'Express',
      { framework: 'express', query: { a: '1' }, prefix: '/fn/expressed' },
    ]);
    expect(answer.headers.get('pilum-task-id')).toMatch(/^expressed\./);
    const teapot = await fn('expressed/teapot');
    expect([teapot.status, await teapot.text()]).toEqual([418, 'short and stout']);
    expect((await fn('expressed/fails')).status).toBe(500);
    expect((await fn('expressed/nowhere')).status).toBe(404);
    const post = await fn('expressed/', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"a":[1]}',
    });
    expect(await post.json()).toEqual({ got: { a: [1] } });
    // What is no JSON is for the server to refuse.
    const broken = await fn('expressed/', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{',
    });
    expect([broken.status, broken.headers.get('x-powered-by')]).toEqual([400, 'Express']);
  });

  it('sends its callers on below itself, and gives them cookies of its own', async () => {
    const redirect = await fn('expressed/redirect');
    expect([redirect.status, redirect.headers.get('location')]).toEqual([302, '/fn/expressed/elsewhere']);
    expect((await fn('expressed/cookie')).headers.getSetCookie()).toEqual([
      'pilum.default.expressed.session=1; HttpOnly; Path=/fn/expressed',
    ]);
  });

  it('says that nothing has changed where nothing has', async () => {
    const first = await fn('expressed/prints');
    const etag = first.headers.get('etag') ?? '';
    // Not with fetch, which would ask past every cache.
    const request = get(`${pilum.url}/fn/expressed/prints`, { headers: { 'if-none-match': etag } });
    const [again] = (await once(request, 'response')) as [IncomingMessage];
    again.resume();
    expect([again.statusCode, again.headers.etag]).toEqual([304, etag]);
  });

  it('takes and gives large bodies', async () => {
    const size = await fn('expressed/size', {
      method: 'POST',
      headers: { 'content-type': 'application/octet-stream' },
      body: Buffer.alloc(5_000_000, 1),
    });
    expect(await size.json()).toEqual({ size: 5_000_000 });
    expect((await (await fn('expressed/large')).arrayBuffer()).byteLength).toBe(9_000_000);
  });

  it('streams', async () => {
    const answer = await fn('expressed/stream');
    const parts: string[] = [];
    for await (const part of answer.body as unknown as AsyncIterable<Uint8Array>)
      parts.push(Buffer.from(part).toString());
    expect(parts.join('')).toBe('part 1\npart 2\npart 3\n');
    // As they come: the first is here before there is a second.
    expect(parts[0]).toBe('part 1\n');
  });

  it('prints to the log of the task', async () => {
    const taskId = (await fn('expressed/prints')).headers.get('pilum-task-id');
    const log = await waitFor(async () => {
      const { text } = await pilum.call('GET', `/v1/tasks/${taskId}/logs`);
      return text.includes('a line of the log');
    });
    expect(log).toBe(true);
  });

  it('serves calls at the same time on several instances', async () => {
    const ids = await Promise.all(Array.from({ length: 4 }, async () => (await fn('expressed/id')).text()));
    expect(new Set(ids).size).toBe(4);
  });

  it('that crashes under a call has failed it, and is started again for the next', async () => {
    const crashed = await fn('expressed/crash');
    expect([crashed.status, (await errorOf(crashed)).code]).toEqual([502, 'FUNCTION_FAILED']);
    const late = await fn('expressed/late-crash');
    expect(late.status).toBe(200);
    await expect(late.text()).rejects.toThrow();
    expect((await fn('expressed/teapot')).status).toBe(418);
  });

  it('that hangs is ended at the run timeout', async () => {
    const answer = await fn('expressed/hangs', { headers: { 'pilum-timeout': '400ms' } });
    expect([answer.status, (await errorOf(answer)).code]).toEqual([504, 'TASK_TIMEOUT']);
  });

  it('is invoked with a POST, and its error is the task’s', async () => {
    expect((await pilum.invoke('expressed', { a: 1 })).body.result).toEqual({ got: { a: 1 } });
    const failed = await pilum.call('POST', '/v1/artifacts/expressed/invoke', {
      body: '{',
      headers: { 'content-type': 'text/plain' },
    });
    expect(failed.status).toBe(200); // a body that express does not parse
  });
});

describe('a server of Fastify, as npm has it', () => {
  it('answers with its own status, headers and body', async () => {
    const answer = await fn('fastified?a=1', { method: 'DELETE' });
    expect([answer.status, await answer.json()]).toEqual([
      200,
      { framework: 'fastify', method: 'DELETE', query: { a: '1' } },
    ]);
    const missing = await fn('fastified/missing');
    expect([missing.status, await missing.json()]).toEqual([404, { no: 'such thing' }]);
    const redirect = await fn('fastified/redirect');
    expect([redirect.status, redirect.headers.get('location')]).toEqual([303, '/fn/fastified/elsewhere']);
    const size = await fn('fastified/size', { method: 'POST', body: Buffer.alloc(5_000_000, 1) });
    expect(await size.json()).toEqual({ size: 5_000_000 });
    expect(await (await fn('fastified/stream')).text()).toBe('part 1\npart 2\npart 3\n');
    expect((await pilum.invoke('fastified', { a: 1 })).body.result).toMatchObject({ method: 'POST', body: { a: 1 } });
  });
});

describe('pool.concurrency', () => {
  it('lets one instance serve several calls at a time, and no more', async () => {
    await deployPackage('shared', FASTIFY, ['fastify'], { pool: { concurrency: 4, max: 2 } });
    const answers = await Promise.all(Array.from({ length: 8 }, async () => (await fn('shared/wait')).json()));
    const mosts = (answers as { most: number }[]).map(({ most }) => most);
    expect(Math.max(...mosts)).toBe(4);
    const started = (await pilum.call('GET', '/v1/tasks?artifact=shared&limit=100')).json.tasks as {
      instanceId: string;
    }[];
    expect(new Set(started.map(({ instanceId }) => instanceId)).size).toBe(2);
  });
});

describe('a server that is none', () => {
  it('and never listens fails to start in time, with what it said', async () => {
    const inline = "console.error('no database'); setInterval(() => undefined, 1000);";
    await deployServer('deaf', {
      code: { inline },
      entry: 'a.mjs',
      command: ['node', 'a.mjs'],
      timeouts: { startMs: 1500 },
    });
    const answer = await fn('deaf');
    expect(answer.status).toBe(502);
    const error = await errorOf(answer);
    expect(error).toMatchObject({ code: 'INSTANCE_START_FAILED', details: { output: 'no database', afterMs: 1500 } });
  });

  it('but answers garbage, or closes early, fails the call', async () => {
    const inline = `
      import { createServer } from 'node:net';
      createServer((socket) => socket.once('data', (bytes) => bytes.includes('GET /early') ? socket.destroy() : socket.end('garbage\\r\\n\\r\\n'))).listen(process.env.PORT);`;
    await deployServer('odd', { code: { inline }, entry: 'a.mjs', command: ['node', 'a.mjs'] });
    for (const path of ['odd', 'odd/early']) {
      const answer = await fn(path);
      expect([path, answer.status, (await errorOf(answer)).code]).toEqual([path, 502, 'FUNCTION_FAILED']);
    }
  });

  it('but a program behind /fn gives what it prints', async () => {
    await pilum.deploy('prints', { command: ['/bin/sh', '-c', 'echo "$PILUM_HTTP_METHOD $PILUM_HTTP_URL"; cat'] });
    const answer = await fn('prints/a?b', { method: 'POST', body: 'and this' });
    expect([answer.status, await answer.text()]).toEqual([200, 'POST /a?b\nand this']);
  });
});

it('a client that leaves ends what its server does for it', async () => {
  const inline = `
    import { createServer } from 'node:http';
    createServer((request, answer) => {
      answer.once('close', () => console.log('left'));
      const piece = 'x'.repeat(65536);
      const go = () => { while (!answer.destroyed && answer.write(piece)); };
      answer.on('drain', go);
      go();
    }).listen(process.env.PORT);`;
  await deployServer('endless', { code: { inline }, entry: 'a.mjs', command: ['node', 'a.mjs'] });
  const stop = new AbortController();
  const answer = await fn('endless', { signal: stop.signal });
  const taskId = answer.headers.get('pilum-task-id');
  await sleep(100); // it is full by now, and waits
  stop.abort();
  await waitFor(async () => (await pilum.call('GET', `/v1/tasks/${taskId}`)).json.status === 'cancelled');
});
