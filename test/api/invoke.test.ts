import { once } from 'node:events';
import { request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { INLINE_LIMIT_BYTES } from '@pilum/core/store/task-store.ts';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';
import { startApi, type TestApi } from './support/api.ts';
import { json, TestWorker } from './support/worker.ts';

let redis: TestRedis;
let api: TestApi;
let worker: TestWorker;
const kept = keep();
beforeAll(async () => {
  redis = kept.add(await startRedis());
});
beforeEach(async () => {
  api = await startApi({ url: redis.url });
  await api.redis.flushall();
  worker = new TestWorker(redis.url);
  await worker.report();
});
afterEach(async () => {
  await api.close();
  await worker.close();
});

describe('a sync call', () => {
  it('answers with the result and what it took', async () => {
    await api.deploy('adder');
    worker.serve('adder', (_ticket, payload) => json({ sum: JSON.parse(String(payload)).a + 1 }));
    const { status, json: body, headers } = await api.invoke('adder', { a: 41 });
    expect(status).toBe(200);
    expect(headers['content-type']).toContain('application/json');
    expect(body).toMatchObject({
      artifactId: 'adder',
      version: 1,
      mode: 'sync',
      status: 'completed',
      result: { sum: 42 },
      resultContentType: 'application/json',
      statusEndpoint: '',
      estimatedCompletionMs: 0,
      attempt: 1,
      workerId: 'worker-1',
      instanceId: 'instance-1',
      timing: { queuedMs: 1, startMs: 0.5, runMs: 1.5, coldStart: false },
    });
    expect(body.taskId).toMatch(/^adder\.[0-9A-Z]{26}$/);
  });

  it('hands the worker exactly what was sent', async () => {
    await api.deploy('witness', { timeouts: { runMs: 1234, queueMs: 5678 }, retry: { recoveries: 0 } });
    const held = worker.take.bind(worker, 'witness');
    const sent = Buffer.from([0, 255, 13, 10, 0xc3, 0x28]);
    const headers = {
      'content-type': 'application/x-thing; v=1',
      accept: 'text/plain',
      authorization: 'Bearer secret',
      cookie: 'session=secret',
      'x-request-id': '7',
      'x-forwarded-for': '10.0.0.1',
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    };
    const before = Date.now();
    await api.invoke('witness', sent, '?mode=async&timeout=2s', headers);
    const job = await held();
    expect(job?.ticket).toMatchObject({
      namespace: 'default',
      artifactId: 'witness',
      version: 1,
      maxRecoveries: 0,
      mode: 'async',
      contentType: 'application/x-thing; v=1',
      runTimeoutMs: 2000,
      replyTo: null,
      keyed: false,
      traceparent: headers.traceparent,
      payload: { encoding: 'base64' },
    });
    expect(job?.ticket.headers).toEqual({ accept: 'text/plain', 'user-agent': 'lightMyRequest', 'x-request-id': '7' });
    expect(job?.queueDeadlineMs).toBeGreaterThanOrEqual(before + 5678);
    expect(job?.ticket.digest).toMatch(/^sha256:/);
    expect(JSON.stringify(job?.ticket)).not.toContain('secret');
    expect((job && (await worker.tasks.payload(job.ticket)))?.equals(sent)).toBe(true);
  });

  it('takes payloads of every size, and none', async () => {
    await api.deploy('sizes');
    worker.serve('sizes', (ticket, payload) => json([payload?.length, ticket.contentType, ticket.payload.encoding]));
    const sizes = [0, 1, INLINE_LIMIT_BYTES, INLINE_LIMIT_BYTES + 1, 1_048_576];
    for (const size of sizes) {
      const { json: body } = await api.invoke('sizes', Buffer.alloc(size, 97));
      const encoding = size > INLINE_LIMIT_BYTES ? 'beside' : 'utf8';
      expect(body.result).toEqual([size, 'application/octet-stream', encoding]);
    }
    const empty = await api.call('POST', '/v1/artifacts/sizes/invoke', {
      headers: { 'content-type': 'application/json' },
    });
    expect(empty.json.result).toEqual([0, 'application/json', 'utf8']);
  });

  it.each([
    ['JSON as it was written', 'application/json', '{"n":12345678901234567890.0,"a":[1, 2]}', null],
    ['JSON of a type of its own', 'application/problem+json; charset=utf-8', '{"a":1}', { a: 1 }],
    ['text as a string', 'text/plain', 'grüße\u2028"\\', 'grüße\u2028"\\'],
    ['other bytes in base64', 'image/png', Buffer.from([137, 80, 0, 255]), { base64: 'iVAA/w==' }],
    ['text that is no UTF-8 in base64', 'text/plain', Buffer.from([0xe4]), { base64: '5A==' }],
    ['text of another character set in base64', 'text/plain; charset=latin1', 'a', { base64: 'YQ==' }],
    ['false JSON as a string', 'application/json', '1,"taskId":"forged"', '1,"taskId":"forged"'],
    ['a large result', 'application/json', JSON.stringify('x'.repeat(100_000)), 'x'.repeat(100_000)],
  ])('gives %s', async (_name, contentType, body, result) => {
    await api.deploy('shapes');
    worker.serve('shapes', () => ({ contentType, body }));
    const answer = await api.invoke('shapes');
    expect(answer.status).toBe(200);
    if (result === null) expect(answer.text).toContain(`"result":${body},`);
    else expect(answer.json.result).toEqual(result);
    expect(answer.json.resultContentType).toBe(contentType);
    const raw = await api.call('GET', `/v1/tasks/${answer.json.taskId}/result`);
    expect(raw.bytes.equals(Buffer.from(body as string))).toBe(true);
    expect(raw.headers['content-type']).toBe(contentType);
    expect(raw.headers['x-content-type-options']).toBe('nosniff');
    expect(raw.headers['content-security-policy']).toContain('sandbox');
  });

  it.each([
    ['FUNCTION_FAILED', 'failed', 502],
    ['TASK_TIMEOUT', 'timeout', 504],
    ['OUT_OF_MEMORY', 'failed', 502],
    ['TASK_CANCELLED', 'cancelled', 409],
  ] as const)('that ends with %s answers with its status and the whole envelope', async (code, status, httpStatus) => {
    await api.deploy('failing');
    worker.serve('failing', () => ({ status, result: undefined, error: { code, message: 'why', details: { a: 1 } } }));
    const answer = await api.invoke('failing');
    expect(answer.status).toBe(httpStatus);
    expect(answer.json).toMatchObject({ status, result: null, error: { code, message: 'why', details: { a: 1 } } });
    const result = await api.call('GET', `/v1/tasks/${answer.json.taskId}/result`);
    expect(result.status).toBe(409);
    expect(result.json.error).toMatchObject({ code, message: 'why', taskId: answer.json.taskId });
  });

  it('whose wait ends first is answered 202, and the task goes on', async () => {
    await api.deploy('slow');
    const answer = await api.invoke('slow', {}, '?wait=50ms');
    expect(answer.status).toBe(202);
    expect(answer.json).toMatchObject({ mode: 'sync', status: 'pending', result: null });
    expect(answer.json.statusEndpoint).toBe(`/v1/tasks/${answer.json.taskId}`);
    expect(answer.headers.location).toBe(answer.json.statusEndpoint);
    const held = await worker.take('slow');
    expect((await api.call('GET', answer.json.statusEndpoint)).json.status).toBe('running');
    if (held) await worker.end(held, json('late'));
    expect((await api.call('GET', answer.json.statusEndpoint)).json).toMatchObject({
      status: 'completed',
      result: 'late',
    });
  });

  it('whose wait ends while the task runs says so', async () => {
    await api.deploy('running');
    const call = api.invoke('running', {}, '?wait=300ms');
    await waitFor(() => worker.take('running'), { what: 'the task' });
    expect((await call).json).toMatchObject({ status: 'running', attempt: 1 });
  });

  it('whose reply is lost finds the outcome all the same', async () => {
    await api.deploy('unheard');
    const call = api.invoke('unheard');
    const held = await waitFor(() => worker.take('unheard'), { what: 'the task' });
    await worker.end(held, json('found'), null);
    expect((await call).json).toMatchObject({ status: 'completed', result: 'found' });
  });

  it('that no worker could run fails at once, and an async one waits', async () => {
    await api.deploy('alone');
    await worker.registry.remove('worker-1');
    await api.close();
    api = await startApi({ url: redis.url });
    const began = performance.now();
    const answer = await api.invoke('alone');
    expect([answer.status, answer.json.error.code]).toEqual([503, 'NO_WORKER']);
    // Not at the end of the wait for an answer.
    expect(performance.now() - began).toBeLessThan(9000);
    expect(await api.deps.queues.of({ namespace: 'default', artifactId: 'alone' }).counts()).toMatchObject({
      waiting: 0,
      active: 0,
    });
    expect((await api.invoke('alone', {}, '?mode=async')).status).toBe(202);
    await worker.report({
      runtimes: [{ kind: 'process', available: false, isolation: 'none', limits: [], notes: [] }],
    });
    expect((await api.invoke('alone')).json.error.code).toBe('NO_WORKER');
    await worker.report();
    worker.serve('alone', () => json(1));
    expect((await api.invoke('alone')).json.result).toBe(1);
  });

  it('that is larger than every worker fails at once and says what is missing, until a larger one comes', async () => {
    await api.deploy('large', { limits: { cpu: 2, memoryMiB: 1024 } });
    const small = { tasks: 4, cpu: 2, memoryMiB: 512 };
    await worker.report({ capacity: small });
    await api.close();
    api = await startApi({ url: redis.url });
    const { status, json: refused } = await api.invoke('large');
    expect([status, refused.error.code]).toEqual([503, 'NO_WORKER']);
    expect(refused.error.details).toMatchObject({ needed: { cpu: 2, memoryMiB: 1024 }, largest: { memoryMiB: 512 } });
    expect((await api.invoke('large', {}, '?mode=async')).status).toBe(202);
    // One that stops does not count.
    await worker.report({ capacity: { ...small, memoryMiB: 1024 }, draining: true });
    expect((await api.invoke('large')).json.error.code).toBe('NO_WORKER');
    await worker.report({ capacity: { ...small, memoryMiB: 1024 } });
    worker.serve('large', () => json(1));
    expect((await api.invoke('large')).json.result).toBe(1);
  });

  it('that needs a network closed to a list fails at once where no worker can close one, and says what that takes', async () => {
    await api.deploy('networked', { limits: { network: { allow: ['api.example.com:443'] } } });
    const status = { kind: 'process', available: true, isolation: 'sandbox' } as const;
    await worker.report({ runtimes: [{ ...status, limits: ['rlimits'], notes: ['there is no nft'] }] });
    await api.close();
    api = await startApi({ url: redis.url });
    const refused = await api.invoke('networked');
    expect([refused.status, refused.json.error.code]).toEqual([503, 'NO_WORKER']);
    expect(refused.json.error.hint).toContain('nftables');
    expect(refused.json.error.details).toMatchObject({ missing: 'network', workers: ['worker-1: there is no nft'] });
    await worker.report({ runtimes: [{ ...status, limits: ['rlimits', 'relay'], notes: [] }] });
    worker.serve('networked', () => json(1));
    expect((await api.invoke('networked')).json.result).toBe(1);
  });

  it('whose caller leaves ends its wait, and the task goes on', async () => {
    await api.deploy('left');
    await api.app.listen({ host: '127.0.0.1', port: 0 });
    const { port } = api.app.server.address() as AddressInfo;
    const call = request({ host: '127.0.0.1', port, path: '/v1/artifacts/left/invoke', method: 'POST' });
    call.end('x');
    await waitFor(() => api.deps.inbox.waiting === 1, { what: 'the wait' });
    const held = await waitFor(() => worker.take('left'), { what: 'the task' });
    const closed = once(call, 'close').catch(() => undefined); // it says that it was cut off
    call.destroy();
    await closed;
    await waitFor(() => api.deps.inbox.waiting === 0, { what: 'the end of the wait' });
    await worker.end(held, json('done'));
    const { json: listed } = await api.call('GET', '/v1/tasks?artifact=left&status=completed');
    expect(listed.tasks).toMatchObject([{ taskId: held.ticket.taskId }]);
  });

  it('is answered 202 when the process stops before the task ends', async () => {
    await api.deploy('stopped');
    const call = api.invoke('stopped');
    await waitFor(() => api.deps.inbox.waiting === 1, { what: 'the wait' });
    api.deps.waits.endAll();
    expect((await call).status).toBe(202);
  });

  it('fails with 503 while Redis is away, and leaves nothing behind', async () => {
    await api.deploy('away');
    await api.invoke('away', {}, '?mode=async');
    const impatient = await startApi({ url: redis.url, commandTimeoutMs: 200 });
    await impatient.invoke('away', {}, '?mode=async');
    process.kill(redis.pid ?? 0, 'SIGSTOP');
    try {
      const answer = await impatient.invoke('away');
      expect([answer.status, answer.json.error.code]).toEqual([503, 'REDIS_UNAVAILABLE']);
      expect(impatient.deps.inbox.waiting).toBe(0);
      const ready = await impatient.call('GET', '/readyz');
      expect([ready.status, ready.json]).toEqual([503, { ready: false, redis: false, workers: null }]);
      expect((await impatient.call('GET', '/livez')).status).toBe(200);
    } finally {
      process.kill(redis.pid ?? 0, 'SIGCONT');
    }
    await waitFor(async () => (await impatient.call('GET', '/readyz')).status === 200, { what: 'Redis to be back' });
    await impatient.close();
  });

  it('that Redis refuses for want of memory says so, and drops the payload beside it', async () => {
    await api.deploy('full');
    await api.invoke('full', {}, '?mode=async');
    const keys = async () => (await api.redis.keys('*full*payload*')).length;
    await api.redis.config('SET', 'maxmemory', '1');
    try {
      const small = await api.invoke('full', {});
      expect([small.status, small.json.error.code]).toEqual([503, 'REDIS_UNAVAILABLE']);
      expect(small.json.error.message).toContain('OOM');
      expect(await keys()).toBe(0);
    } finally {
      await api.redis.config('SET', 'maxmemory', '0');
    }
  });
});

describe('a Redis that dies and comes back with what it had', () => {
  it('costs no accepted task: its caller is answered', async () => {
    const mortal = await startRedis({ appendonly: true });
    const here = await startApi({ url: mortal.url });
    const there = new TestWorker(mortal.url);
    await here.redis.config('SET', 'appendfsync', 'always');
    await there.report();
    await here.deploy('survivor');
    const call = here.invoke('survivor');
    const held = await waitFor(() => there.take('survivor'), { what: 'the task' });
    const queued = await here.accept('survivor');
    await mortal.restart();
    await there.end(held, json('after all'));
    expect((await call).json).toMatchObject({ status: 'completed', result: 'after all' });
    expect((await here.call('GET', `/v1/tasks/${queued}`)).json.status).toBe('pending');
    await here.call('PUT', '/v1/artifacts/survivor/aliases/live', { body: { version: 1 } });
    expect((await here.invoke('survivor', {}, '?mode=async')).status).toBe(202);
    await here.close();
    await there.close();
    await mortal.close();
  });
});

describe('an async call', () => {
  it('is answered 202 at once, with where to ask', async () => {
    await api.deploy('later');
    const answer = await api.invoke('later', { a: 1 }, '?mode=async');
    expect(answer.status).toBe(202);
    expect(answer.json).toMatchObject({
      mode: 'async',
      status: 'pending',
      result: null,
      estimatedCompletionMs: null,
      attempt: 0,
      finishedAt: null,
    });
    expect(answer.headers.location).toBe(`/v1/tasks/${answer.json.taskId}`);
  });

  it('estimates its end from what was measured', async () => {
    await api.deploy('measured');
    await api.accept('measured');
    const held = await worker.take('measured');
    if (held) await worker.end(held, { status: 'completed', runMs: 400, queuedMs: 50 });
    const next = await startApi({ url: redis.url });
    const first = await next.invoke('measured', {}, '?mode=async');
    // The usual wait and run; or, where the measure was taken behind its acceptance, the backlog of one and a run.
    expect([450, 500]).toContain(first.json.estimatedCompletionMs);
    for (let i = 0; i < 8; i++) await api.accept('measured');
    // Nine wait, and the worker has four slots.
    await expect
      .poll(async () => (await next.call('GET', first.json.statusEndpoint)).json.estimatedCompletionMs, {
        timeout: 60_000,
      })
      .toBe(Math.round((9 * 400) / 4 + 400));
    await next.close();
  });

  it('takes its options from headers as well', async () => {
    await api.deploy('headed');
    const answer = await api.invoke('headed', {}, '', { 'pilum-mode': 'async', 'pilum-timeout': '1m' });
    expect(answer.status).toBe(202);
    expect((await worker.take('headed'))?.ticket.runTimeoutMs).toBe(60_000);
    const both = await api.invoke('headed', {}, '?mode=sync', { 'pilum-mode': 'async' });
    expect(both.json.error.details.problems[0].where).toBe('/query/mode');
  });
});

describe('a call with something wrong in it', () => {
  beforeEach(async () => {
    await api.deploy('called');
  });

  it.each([
    ['?mode=stream', 400, 'STREAM_MODE_NOT_SUPPORTED', 'POST /v1/artifacts/{id}/stream'],
    ['?mode=later', 400, 'UNKNOWN_EXECUTION_MODE', 'sync, async'],
    ['?mode=', 400, 'UNKNOWN_EXECUTION_MODE', 'sync, async'],
    ['?timeout=soon', 400, 'VALIDATION_FAILED', '/query/timeout must be a duration'],
    ['?timeout=0', 400, 'VALIDATION_FAILED', '/query/timeout must be from 1 ms'],
    ['?timeout=25h', 400, 'VALIDATION_FAILED', '/query/timeout must be'],
    ['?wait=-1', 400, 'VALIDATION_FAILED', '/query/wait must be a duration'],
    ['?wait=1h', 400, 'VALIDATION_FAILED', '/query/wait must be from'],
    ['?nonsense=1', 400, 'VALIDATION_FAILED', '"nonsense"'],
    ['?__proto__=1', 400, 'VALIDATION_FAILED', '"__proto__"'],
    ['?mode=sync&mode=async', 400, 'VALIDATION_FAILED', '/query/mode must be string'],
    ['?priority=10', 400, 'VALIDATION_FAILED', '/query/priority'],
    ['?delay=31d', 400, 'VALIDATION_FAILED', '/query/delay must be from 0 ms to 30 d'],
    ['?mode=async&wait=5s', 400, 'VALIDATION_FAILED', '/query/wait is for sync calls'],
    ['?attempts=101', 400, 'VALIDATION_FAILED', '/query/attempts'],
  ])('%s answers %i %s', async (query, status, code, message) => {
    const answer = await api.invoke('called', {}, query);
    expect([answer.status, answer.json.error.code]).toEqual([status, code]);
    expect(answer.json.error.message).toContain(message);
  });

  it.each([
    [{ 'x-callback-url': 'http://a/' }, 501, 'NOT_IMPLEMENTED', '/headers/x-callback-url'],
    [{ 'pilum-priority': 'high' }, 400, 'VALIDATION_FAILED', '/headers/pilum-priority'],
    [{ 'pilum-nonsense': '1' }, 400, 'VALIDATION_FAILED', '/headers/pilum-nonsense'],
    [{ 'pilum-wait': 'x' }, 400, 'VALIDATION_FAILED', '/headers/pilum-wait'],
    [{ 'content-encoding': 'gzip' }, 400, 'VALIDATION_FAILED', '/headers/content-encoding'],
    [{ 'content-type': 'nonsense' }, 400, 'VALIDATION_FAILED', '/headers/content-type'],
    [{ 'content-type': 'text/plain; charset=x-nonsense' }, 400, 'VALIDATION_FAILED', '/headers/content-type'],
    [{ 'content-type': 'text/plain; charset=' }, 400, 'VALIDATION_FAILED', '/headers/content-type'],
    [{ 'idempotency-key': '' }, 400, 'VALIDATION_FAILED', '/headers/idempotency-key'],
    [{ 'idempotency-key': 'x'.repeat(256) }, 400, 'VALIDATION_FAILED', '/headers/idempotency-key'],
    [{ 'x-large': 'x'.repeat(9000) }, 400, 'VALIDATION_FAILED', '8192 bytes'],
  ])('%j answers %i %s', async (headers, status, code, message) => {
    const answer = await api.invoke('called', 'x', '', { 'content-type': 'text/plain', ...headers });
    expect([answer.status, answer.json.error.code]).toEqual([status, code]);
    expect(answer.json.error.message).toContain(message);
  });

  it.each([
    ['{"a": tru}', 'unexpected "t" at line 1, column 7 (position 6)'],
    ['{"a": 1,}', 'a field name in double quotes is missing before "}" at line 1, column 9'],
    ['{\n "a": 1\n "b": 2}', 'a , or } is missing before "\\"" at line 3, column 2 (position 11)'],
    ['[1, 2', 'the text ends too early'],
    ['{} {}', 'there is more after the value: "{"'],
    ["{'a': 1}", 'a field name in double quotes'],
    ['"unended', 'a string that begins here does not end well'],
    ['[01]', 'a , or ] is missing before "1"'],
    ['NaN', 'unexpected "N"'],
    ['\u0000', 'unexpected "\\u0000"'],
  ])('broken JSON %j answers with the place', async (body, message) => {
    const answer = await api.invoke('called', body, '', { 'content-type': 'application/json' });
    expect([answer.status, answer.json.error.code]).toEqual([400, 'VALIDATION_FAILED']);
    expect(answer.json.error.message).toContain(message);
    expect(answer.json.error.details.position).toBeGreaterThanOrEqual(0);
  });

  it('JSON that is no UTF-8 is refused; odd but valid JSON is passed on', async () => {
    const bytes = Buffer.from([0x22, 0xff, 0x22]);
    const answer = await api.invoke('called', bytes, '', { 'content-type': 'application/json' });
    expect(answer.json.error.message).toContain('UTF-8');
    for (const odd of ['{"a":1,"a":2}', '{"__proto__":{"a":1}}', '"\\u0000\\ud800"', ' 1 ']) {
      const accepted = await api.invoke('called', odd, '?mode=async', { 'content-type': 'application/json' });
      expect(accepted.status).toBe(202);
    }
  });

  it('a payload over the limit answers 413 and names the limit, also when its size is not said beforehand', async () => {
    const large = Buffer.alloc(1_048_577);
    const answer = await api.invoke('called', large);
    expect([answer.status, answer.json.error.code]).toEqual([413, 'PAYLOAD_TOO_LARGE']);
    expect(answer.json.error.message).toContain('1 MiB');
    expect(answer.json.error.details).toEqual({ limitBytes: 1_048_576 });
    await api.app.listen({ host: '127.0.0.1', port: 0 });
    const { port } = api.app.server.address() as AddressInfo;
    const chunked = await fetch(`http://127.0.0.1:${port}/v1/artifacts/called/invoke`, {
      method: 'POST',
      body: new Blob([large]).stream(),
      duplex: 'half',
    } as RequestInit);
    expect(chunked.status).toBe(413);
    // A client that sends all of a large body before it looks at the answer still gets the answer.
    for (let i = 0; i < 5; i++) {
      const whole = await fetch(`http://127.0.0.1:${port}/v1/artifacts/called/invoke`, {
        method: 'POST',
        body: Buffer.alloc(20 * 1_048_576),
      });
      expect([whole.status, ((await whole.json()) as { error: { code: string } }).error.code]).toEqual([
        413,
        'PAYLOAD_TOO_LARGE',
      ]);
    }
  });
});
