import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { connect as connectTcp } from 'node:net';
import { beforeAll, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { startPilum, type TestPilum } from '../support/pilum.ts';
import { waitFor } from '../support/wait-for.ts';

const KEY = 'a-key-of-the-tests-and-of-nobody-else';

const HANDLER = `
  import { setTimeout as sleep } from 'node:timers/promises';
  let isFirst = true;
  const LAMBDA = {
    whole: {
      statusCode: 302,
      headers: { 'X-Many': 'lost', 'x-one': 1 },
      multiValueHeaders: { 'x-many': ['1', '2'], location: ['/x'] },
      cookies: ['a=1; HttpOnly', 'b=2'],
      body: 'AP8=',
      isBase64Encoded: true,
    },
    cookies: { statusCode: 200, cookies: 'a=1' },
    multiValueHeaders: { statusCode: 200, multiValueHeaders: ['x-many'] },
    headers: { statusCode: 200, headers: 'x-many: 1' },
    isBase64Encoded: { statusCode: 200, isBase64Encoded: true, body: {} },
  };
  export default async function (event, context) {
    switch (event.path) {
      case '/echo': return event;
      case '/text': return 'grüße';
      case '/bytes': return Buffer.from([0, 255]);
      case '/status': return { statusCode: Number(event.query.code), body: event.query.body };
      case '/headers': return { statusCode: 200, headers: event.body, body: 'with headers' };
      case '/lambda': return LAMBDA[event.query.it];
      case '/large': return { statusCode: 200, body: Buffer.alloc(Number(event.query.bytes), 'x') };
      case '/size': return { length: event.body?.length ?? 0 };
      case '/fails': throw new TypeError('no answer');
      case '/flaky': if (isFirst) { isFirst = false; throw new Error('not yet'); } return { query: event.query };
      case '/hangs': await sleep(60_000); return null;
      case '/exits': process.exit(3);
      case '/attempt': { if (context.attempt < 2) throw new Error('again'); return { attempt: context.attempt }; }
      case '/prints': console.log('a line of the log'); return null;
      case '/events': return { statusCode: 200, headers: { 'content-type': 'text/event-stream' }, body: events() };
      case '/lines': return lines(event.query.fail, event.query.count);
      case '/much': return much();
      default: return { statusCode: 404, body: 'nothing here' };
    }
    async function* events() { for (let i = 1; i <= 3; i++) { yield 'data: ' + i + '\\n\\n'; await sleep(300); } }
    async function* lines(fail, count = 3) { for (let i = 1; i <= count; i++) { yield { i }; if (fail) { await sleep(1000); throw new Error('in the middle'); } } }
    async function* much() { try { for (;;) { yield 'x'.repeat(65536); } } finally { console.log('it was ended'); } }
  }`;

const FETCH = `
  export default {
    async fetch(request, env, context) {
      const url = new URL(request.url);
      if (url.pathname === '/echo') {
        return Response.json({ method: request.method, path: url.pathname, query: url.search, body: await request.text(), kind: request.headers.get('x-kind'), env: env.LEVEL, taskId: context.taskId });
      }
      if (url.pathname === '/redirect') return Response.redirect(new URL('/there?x=1', url), 302);
      if (url.pathname === '/empty') return new Response(null, { status: 204 });
      if (url.pathname === '/cookies') {
        const headers = new Headers({ 'content-type': 'text/html' });
        headers.append('set-cookie', 'a=1; Path=/; HttpOnly');
        headers.append('set-cookie', 'b=2; Domain=example.com; Path=/admin');
        return new Response('<p>', { headers });
      }
      if (url.pathname === '/stream') {
        let i = 0;
        return new Response(new ReadableStream({ async pull(to) { if (i++ === 3) to.close(); else { to.enqueue(new TextEncoder().encode('part ' + i + '\\n')); await new Promise((go) => setTimeout(go, 100)); } } }), { headers: { 'content-type': 'text/plain' } });
      }
      if (request.method === 'POST' && url.pathname === '/') {
        const value = await request.json();
        if (value.status) return new Response('it is ' + value.status, { status: value.status });
        context.waitUntil(Promise.resolve());
        return Response.json({ got: value });
      }
      return new Response('nothing here', { status: 404 });
    },
  };`;

const PYTHON = `
import time
LAMBDA = {
    "whole": {
        "statusCode": 302,
        "headers": {"X-Many": "lost", "x-one": 1},
        "multiValueHeaders": {"x-many": ["1", "2"], "location": ["/x"]},
        "cookies": ["a=1; HttpOnly", "b=2"],
        "body": "AP8=",
        "isBase64Encoded": True,
    },
    "cookies": {"statusCode": 200, "cookies": "a=1"},
    "multiValueHeaders": {"statusCode": 200, "multiValueHeaders": ["x-many"]},
    "headers": {"statusCode": 200, "headers": "x-many: 1"},
    "isBase64Encoded": {"statusCode": 200, "isBase64Encoded": True, "body": {}},
}
def handler(event, context):
    path = event["path"]
    if path == "/echo":
        return {**event, "body": event["body"].decode("latin1") if isinstance(event["body"], bytes) else event["body"]}
    if path == "/teapot":
        return {"statusCode": 418, "headers": {"X-Many": ["one", "two"], "Content-Type": "text/html"}, "body": "<p>short and stout"}
    if path == "/lambda":
        return LAMBDA[event["query"]["it"]]
    if path == "/empty":
        return {"statusCode": 204}
    if path == "/bad":
        return {"statusCode": 200, "headers": {"x-a": "1\\r\\nx-b: 2"}}
    if path == "/lines":
        def lines():
            for i in range(3):
                yield {"i": i}
                time.sleep(0.1)
        return lines()
    return "text of " + path
`;

let pilum: TestPilum;
const kept = keep();
beforeAll(async () => {
  pilum = kept.add(await startPilum({ env: { PILUM_STREAM_READER_GRACE_MS: '1000', PILUM_API_KEY: KEY } }));
  await deploy('web', { code: { inline: HANDLER }, timeouts: { runMs: 20_000 } });
  await deploy('fetches', { code: { inline: FETCH }, env: { LEVEL: 'debug' } });
  await deploy('snake', { language: 'python', entry: 'main.py', code: { inline: PYTHON } });
});

const authorization = `Bearer ${KEY}`;

async function deploy(id: string, spec: Record<string, unknown>): Promise<void> {
  const body = { runtime: 'process', ...spec };
  const answer = await pilum.call('PUT', `/v1/artifacts/${id}`, { body, headers: { authorization } });
  if (answer.status !== 201) throw new Error(`${answer.status} ${answer.text}`);
}

interface Options {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string | Uint8Array;
}

/** A call of a function, which is not followed where it sends us. */
async function fn(path: string, { headers = {}, ...options }: Options = {}): Promise<Response> {
  const init = { redirect: 'manual' as const, ...options, headers: { authorization, ...headers } };
  return await fetch(`${pilum.url}/fn/${path}`, init as RequestInit);
}

/** The same with what `fetch` does not let through. */
async function raw(path: string, options: { method?: string; headers?: Record<string, string> }) {
  const request = httpRequest(`${pilum.url}/fn/${path}`, {
    method: options.method ?? 'GET',
    headers: { authorization, ...options.headers },
  });
  request.end();
  const [answer] = (await once(request, 'response')) as [IncomingMessage];
  let text = '';
  for await (const bytes of answer) text += String(bytes);
  return { status: answer.statusCode, headers: answer.headers, rawHeaders: answer.rawHeaders, text };
}

const task = async (taskId: string) =>
  (await pilum.call('GET', `/v1/tasks/${taskId}`, { headers: { authorization } })).json;

describe('a handler as a web endpoint', () => {
  it('gets the request as its event', async () => {
    const answer = await fn('web/echo?a=1&b=2&b=3&c=%20%C3%BC', {
      method: 'PATCH',
      headers: {
        'content-type': 'application/json',
        'x-own': 'mine',
        cookie: 'pilum.default.web.session=1; grafana=2',
      },
      body: '{"n":[1]}',
    });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toBe('application/json');
    const event = (await answer.json()) as Record<string, unknown>;
    expect(event).toMatchObject({
      method: 'PATCH',
      path: '/echo',
      query: { a: '1', b: ['2', '3'], c: ' ü' },
      body: { n: [1] },
      headers: {
        'x-own': 'mine',
        cookie: 'session=1',
        'content-type': 'application/json',
        'x-forwarded-for': expect.stringContaining('127.0.0.1'),
        'x-forwarded-proto': 'http',
        'x-forwarded-host': new URL(pilum.url).host,
        'x-forwarded-prefix': '/fn/web',
      },
    });
    expect(JSON.stringify(event)).not.toContain(KEY);
    expect(event.headers).not.toHaveProperty('authorization');
    expect(event.headers).not.toHaveProperty('connection');
  });

  it('is any method, any depth of path as it was sent, and any version or alias', async () => {
    for (const method of ['GET', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PROPFIND', 'SEARCH']) {
      const { status, text } = await raw('web/echo', { method });
      expect([method, status, JSON.parse(text).method]).toEqual([method, 200, method]);
    }
    const long = 'x'.repeat(3000);
    expect(((await (await fn(`web@1/echo?long=${long}`)).json()) as { query: unknown }).query).toEqual({ long });
    expect((await fn(`web/a%2Fb/${long}`)).status).toBe(404);
    await expect((await fn('snake/a%2Fb//c;d?e')).text()).resolves.toBe('text of /a%2Fb//c;d');
    expect(await (await fn('snake')).text()).toBe('text of /');
    expect(await (await fn('snake?x')).text()).toBe('text of /');
    expect((await fn('nobody/here')).status).toBe(404);
    expect((await fn('web@7/echo')).status).toBe(404);
  });

  it('answers with text, bytes or JSON, and with a status and headers of its own', async () => {
    const text = await fn('web/text');
    expect([text.headers.get('content-type'), await text.text()]).toEqual(['text/plain; charset=utf-8', 'grüße']);
    const bytes = await fn('web/bytes');
    expect(new Uint8Array(await bytes.arrayBuffer())).toEqual(new Uint8Array([0, 255]));
    const teapot = await fn('snake/teapot');
    expect([teapot.status, teapot.headers.get('x-many'), await teapot.text()]).toEqual([
      418,
      'one, two',
      '<p>short and stout',
    ]);
    for (const code of [201, 400, 404, 503]) {
      const answer = await fn(`web/status?code=${code}&body=mine`);
      expect([answer.status, await answer.text()]).toEqual([code, 'mine']);
      expect((await task(answer.headers.get('pilum-task-id') ?? '')).status).toBe('completed');
    }
  });

  it.each(['web', 'snake'])(
    'answers as it would behind a proxy for Lambda, or is told what is none: %s',
    async (id) => {
      const answer = await fn(`${id}/lambda?it=whole`);
      expect([answer.status, answer.headers.get('location')]).toEqual([302, `/fn/${id}/x`]);
      expect([answer.headers.get('x-many'), answer.headers.get('x-one')]).toEqual(['1, 2', '1']);
      expect(answer.headers.getSetCookie()).toEqual([
        `pilum.default.${id}.a=1; HttpOnly; Path=/fn/${id}`,
        `pilum.default.${id}.b=2; Path=/fn/${id}`,
      ]);
      expect(new Uint8Array(await answer.arrayBuffer())).toEqual(new Uint8Array([0, 255]));
      for (const field of ['cookies', 'multiValueHeaders', 'headers', 'isBase64Encoded']) {
        const wrong = await fn(`${id}/lambda?it=${field}`);
        expect([field, wrong.status, await wrong.text()]).toEqual([field, 502, expect.stringContaining(field)]);
      }
    },
  );

  it('gives no body where there must be none', async () => {
    for (const code of [204, 304]) {
      const { status, headers, text } = await raw(`web/status?code=${code}&body=none`, {});
      expect([status, text, headers['content-length'], headers['transfer-encoding']]).toEqual([
        code,
        '',
        undefined,
        undefined,
      ]);
    }
    const head = await raw('web/text', { method: 'HEAD' });
    expect([head.status, head.text, head.headers['content-length']]).toEqual([200, '', '7']);
    expect((await fn('snake/empty')).status).toBe(204);
  });

  it('takes and gives large bodies', async () => {
    const body = Buffer.alloc(5_000_000, 'pilum');
    const size = await fn('web/size', { method: 'POST', body });
    expect(await size.json()).toEqual({ length: 5_000_000 });
    const large = await fn('web/large?bytes=9000000');
    expect((await large.arrayBuffer()).byteLength).toBe(9_000_000);
    const tooLarge = await fn('web/size', { method: 'POST', body: Buffer.alloc(17 * 1_048_576) }).catch(() => null);
    expect(tooLarge?.status ?? 413).toBe(413);
  });

  it('streams what it yields, as it comes', async () => {
    const answer = await fn('web/events');
    expect(answer.headers.get('content-type')).toBe('text/event-stream');
    const reader = (answer.body as ReadableStream<Uint8Array>).getReader();
    const first = await reader.read();
    expect(Buffer.from(first.value ?? []).toString()).toBe('data: 1\n\n');
    let rest = '';
    for (let part = await reader.read(); !part.done; part = await reader.read()) rest += Buffer.from(part.value);
    expect(rest).toBe('data: 2\n\ndata: 3\n\n');
    for (const path of ['web/lines', 'snake/lines']) {
      const lines = await fn(path);
      expect(lines.headers.get('content-type')).toBe('application/x-ndjson');
      expect((await lines.text()).trim().split('\n')).toHaveLength(3);
    }
  });

  it('fails with the error of its task before the head, and breaks off after it', async () => {
    const failed = await fn('web/fails');
    const taskId = failed.headers.get('pilum-task-id');
    expect(failed.status).toBe(502);
    expect(await failed.json()).toMatchObject({
      error: { code: 'FUNCTION_FAILED', message: 'TypeError: no answer', taskId },
    });
    expect(
      (await fn('web/headers', { method: 'POST', body: '{', headers: { 'content-type': 'application/json' } })).status,
    ).toBe(400);
    const timeout = await fn('web/hangs', { headers: { 'pilum-timeout': '300ms' } });
    expect([timeout.status, ((await timeout.json()) as { error: { code: string } }).error.code]).toEqual([
      504,
      'TASK_TIMEOUT',
    ]);
    const broken = await fn('web/lines?fail=1');
    expect(broken.status).toBe(200);
    await expect(broken.text()).rejects.toThrow();
    expect((await task(broken.headers.get('pilum-task-id') ?? '')).error).toMatchObject({ code: 'FUNCTION_FAILED' });
  });

  it('is tried once, unless the request says otherwise', async () => {
    expect((await fn('web/attempt')).status).toBe(502);
    const answer = await fn('web/attempt', { headers: { 'pilum-attempts': '2' } });
    expect([answer.status, await answer.json()]).toEqual([200, { attempt: 2 }]);
    const unknown = await fn('web/echo', { headers: { 'pilum-mode': 'async' } });
    expect(unknown.status).toBe(400);
  });

  it('is a task like any other: with a log and an outcome', async () => {
    const answer = await fn('web/prints');
    const taskId = answer.headers.get('pilum-task-id') ?? '';
    expect(await task(taskId)).toMatchObject({ status: 'completed', mode: 'stream', result: null });
    const log = await pilum.call('GET', `/v1/tasks/${taskId}/logs`, { headers: { authorization } });
    expect(log.text).toContain('a line of the log');
  });

  it('is retried by hand with the same request', async () => {
    const failed = await fn('web/flaky?a=1');
    expect(failed.status).toBe(502);
    const path = `/v1/tasks/${failed.headers.get('pilum-task-id')}/retry`;
    const { json } = await pilum.call('POST', path, { headers: { authorization } });
    const retried = await waitFor(async () => {
      const state = await task(json.taskId);
      return state.status === 'completed' ? state : null;
    });
    expect(retried.result).toEqual({ query: { a: '1' } });
  });

  it('waits where its client does not read, and is cancelled where its client has left', async () => {
    const stop = new AbortController();
    const answer = await fetch(`${pilum.url}/fn/web/much`, { headers: { authorization }, signal: stop.signal });
    const taskId = answer.headers.get('pilum-task-id') ?? '';
    expect((await task(taskId)).status).toBe('running');
    stop.abort();
    const ended = await waitFor(async () => {
      const state = await task(taskId);
      return state.status === 'cancelled' ? state : null;
    });
    expect(ended.error.code).toBe('TASK_CANCELLED');
  });

  it('says nothing that would hold for more than itself', async () => {
    const headers = {
      'service-worker-allowed': '/',
      'clear-site-data': '"*"',
      'strict-transport-security': 'max-age=1',
      'x-accel-redirect': '/etc/passwd',
      connection: 'x-private',
      'x-private': '1',
      'pilum-task-id': 'mine',
      'set-cookie': ['a=1', 'b=2; Domain=.example.com; path=/; Secure'],
      'content-security-policy': "default-src 'self'",
      'content-length': '3',
      location: '/elsewhere',
      'x-own': 'kept',
    };
    const answer = await raw2('web/headers', headers);
    expect(answer.headers).toMatchObject({
      'x-own': 'kept',
      location: '/fn/web/elsewhere',
      'content-length': '12',
      'set-cookie': ['pilum.default.web.a=1; Path=/fn/web', 'pilum.default.web.b=2; Secure; Path=/fn/web'],
    });
    for (const name of [
      'service-worker-allowed',
      'clear-site-data',
      'strict-transport-security',
      'x-accel-redirect',
      'x-private',
    ]) {
      expect(answer.headers).not.toHaveProperty(name);
    }
    expect(answer.headers['pilum-task-id']).toMatch(/^web\./);
    expect(answer.headers['content-security-policy']).toContain("default-src 'self'");
    expect(answer.headers['content-security-policy']).toContain('sandbox allow-');
    const injected = await fn('snake/bad');
    expect(injected.status).toBe(502);
    expect(((await injected.json()) as { error: { message: string } }).error.message).toContain('x-a');
  });

  it('is not called over a WebSocket, and says so', async () => {
    const socket = connectTcp(Number(new URL(pilum.url).port), '127.0.0.1');
    socket.write(
      `GET /fn/web/echo HTTP/1.1\r\nHost: ${new URL(pilum.url).host}\r\nAuthorization: ${authorization}\r\n` +
        'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
    );
    const [bytes] = (await once(socket, 'data')) as [Buffer];
    socket.destroy();
    expect(bytes.toString()).toMatch(/^HTTP\/1\.1 501 /);
    expect(bytes.toString()).toContain('NOT_IMPLEMENTED');
  });

  it('is closed to strangers and to pages of other sites', async () => {
    expect((await fetch(`${pilum.url}/fn/web/echo`)).status).toBe(401);
    expect((await raw('web/echo', { headers: { origin: 'null' } })).status).toBe(403);
    expect((await raw('web/echo', { headers: { origin: 'http://elsewhere.example' } })).status).toBe(403);
  });
});

/** Headers that the function is to answer with, and its answer. */
async function raw2(path: string, headers: unknown) {
  const body = JSON.stringify(headers);
  const request = httpRequest(`${pilum.url}/fn/${path}`, {
    method: 'POST',
    headers: { authorization, 'content-type': 'application/json' },
  });
  request.end(body);
  const [answer] = (await once(request, 'response')) as [IncomingMessage];
  answer.resume();
  await once(answer, 'end');
  return answer;
}

describe('a module that exports fetch', () => {
  it('is served as it is', async () => {
    const answer = await fn('fetches/echo?q=1', { method: 'POST', body: 'hello', headers: { 'x-kind': 'own' } });
    expect(await answer.json()).toEqual({
      method: 'POST',
      path: '/echo',
      query: '?q=1',
      body: 'hello',
      kind: 'own',
      env: 'debug',
      taskId: answer.headers.get('pilum-task-id'),
    });
    expect((await fn('fetches/empty')).status).toBe(204);
    expect((await fn('fetches/nothing')).status).toBe(404);
  });

  it('sends its callers below itself, and its cookies come back to it alone', async () => {
    const redirect = await fn('fetches/redirect');
    expect([redirect.status, redirect.headers.get('location')]).toEqual([302, '/fn/fetches/there?x=1']);
    const cookies = await fn('fetches/cookies');
    expect(cookies.headers.getSetCookie()).toEqual([
      'pilum.default.fetches.a=1; HttpOnly; Path=/fn/fetches',
      'pilum.default.fetches.b=2; Path=/fn/fetches/admin',
    ]);
    // What a task came to is no page of ours.
    const taskId = cookies.headers.get('pilum-task-id');
    const result = await waitFor(async () => {
      const answer = await pilum.call('GET', `/v1/tasks/${taskId}/result`, { headers: { authorization } });
      return answer.status === 200 ? answer : null;
    });
    expect(result.headers.get('content-security-policy')).toContain('sandbox');
  });

  it('streams the body of its Response', async () => {
    const answer = await fn('fetches/stream');
    const sizes: number[] = [];
    for await (const part of answer.body as unknown as AsyncIterable<Uint8Array>) sizes.push(part.length);
    expect(sizes.length).toBeGreaterThan(1);
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(21);
  });

  it('is invoked with a POST of the payload, and a status other than 2xx is its failure', async () => {
    const invoke = (body: unknown) =>
      pilum.call('POST', '/v1/artifacts/fetches/invoke', { body, headers: { authorization } });
    expect((await invoke({ a: 1 })).json.result).toEqual({ got: { a: 1 } });
    for (const status of [404, 500]) {
      expect((await invoke({ status })).json.error).toMatchObject({
        code: 'FUNCTION_FAILED',
        message: `The function answered with status ${status}.`,
        details: { status, body: `it is ${status}` },
      });
    }
  });
});
