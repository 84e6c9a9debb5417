import { setTimeout as sleep } from 'node:timers/promises';
import { FRAME_KINDS, type PackedFrames, unpackFrames } from '@pilum/core/schemas/frame.ts';
import type { HttpHead } from '@pilum/core/schemas/http-head.ts';
import { expect, test } from 'vitest';
import { CallStopped } from '../../apps/worker/src/runtimes/contract/call-stopped.ts';
import type { Call, ChunkSink } from '../../apps/worker/src/runtimes/contract/runtime.ts';
import { freePort } from '../support/free-port.ts';
import { waitFor } from '../support/wait-for.ts';
import type { Bench, Deployment, TestInstance } from './runtime-under-test.ts';

const SERVER: Deployment = { protocol: 'http', command: ['node', 'server.mjs'] };
const shell = (script: string, more: Deployment = {}): Deployment => ({
  protocol: 'http',
  command: ['/bin/sh', '-c', script],
  ...more,
});

/** A web endpoint's answer, put together of its frames. */
class Answered implements ChunkSink {
  head: HttpHead | null = null;
  readonly pieces: Buffer[] = [];
  /** Null: as fast as it can. */
  wait: Promise<void> | null = null;

  take({ bytes }: PackedFrames): Promise<void> | null {
    for (const { kind, payload } of unpackFrames(Buffer.from(bytes))) {
      if (kind === FRAME_KINDS.head) this.head = JSON.parse(payload.toString()) as HttpHead;
      else this.pieces.push(payload);
    }
    return this.wait;
  }

  get size(): number {
    return this.pieces.reduce((sum, { length }) => sum + length, 0);
  }
}

/** Calls a server as a web endpoint; what it answered as a whole or in pieces is put together. */
async function fetchFrom(instance: TestInstance, url: string, options: Partial<Call> & { method?: string } = {}) {
  const { method = 'GET', ...call } = options;
  const answered = (call.chunks as Answered | undefined) ?? new Answered();
  const answer = await instance.call(null, {
    payload: Buffer.alloc(0),
    http: { method, url },
    chunks: answered,
    ...call,
  });
  const body = answer.streamed === true ? Buffer.concat(answered.pieces) : answer.body;
  const head = answer.streamed === true ? answered.head : (answer.head ?? null);
  return { ...answer, status: head?.status, headers: new Headers(head?.headers), body, text: body.toString() };
}

/** A server on `$PORT`, as on Cloud Run: one instance, many calls. */
export function httpContract(bench: () => Bench): void {
  test('a server is called with method, path, query, headers and body, and answers with its own', async () => {
    const instance = await bench().start(SERVER);
    const { status, headers, text, log } = await fetchFrom(instance, '/about?a=%20b&c', {
      method: 'PUT',
      payload: Buffer.from('0123456789'),
      headers: { host: 'example.com', 'x-own': 'mine', 'content-type': 'text/plain' },
    });
    expect([status, headers.get('content-type')]).toEqual([200, 'application/json']);
    const about = JSON.parse(text);
    expect(about).toMatchObject({
      method: 'PUT',
      url: '/about?a=%20b&c',
      size: 10,
      headers: {
        host: 'example.com',
        'x-own': 'mine',
        'content-type': 'text/plain',
        'content-length': '10',
        'pilum-task-id': 'test.01J8ZQ5V7N3K4M6P8R9S0T1V2W',
        'pilum-attempt': '1',
      },
    });
    expect(log.map((line) => line.text)).toEqual(['asked about']);
    const other = await fetchFrom(instance, '/status?code=418');
    expect([other.status, other.headers.get('x-many'), other.text]).toEqual([418, 'one, two', 'mine']);
    expect((await fetchFrom(instance, '/nowhere')).status).toBe(404);
    expect((await fetchFrom(instance, '/about', { method: 'HEAD' })).text).toBe('');
  });

  test('a server finds what Cloud Run and Knative would tell it, and its own environment', async () => {
    const instance = await bench().start({ ...SERVER, env: { LEVEL: 'debug', PORT: '1' } });
    const { env } = JSON.parse((await fetchFrom(instance, '/about')).text);
    expect(env).toMatchObject({ LEVEL: 'debug', K_SERVICE: 'test', K_CONFIGURATION: 'test', K_REVISION: 'test-00001' });
    expect(Number(env.PORT)).toBeGreaterThan(1023);
  });

  test('an invoke is a POST to /, and what it is answered is the result', async () => {
    const instance = await bench().start(SERVER);
    expect(await instance.call({ a: [1] })).toMatchObject({
      ok: true,
      contentType: 'application/json',
      value: { a: [1] },
    });
    const bytes = Buffer.from([0, 255]);
    const answer = await instance.call(null, { contentType: 'application/octet-stream', payload: bytes });
    expect(answer.body.equals(bytes)).toBe(true);
  });

  test('an invoke that is answered with another status than 2xx is FUNCTION_FAILED', async () => {
    const script = `require('http').createServer((_, answer) => { answer.statusCode = Number(process.env.CODE); answer.end('why'); }).listen(process.env.PORT)`;
    for (const code of [302, 404, 500, 503]) {
      const instance = await bench().start({ ...SERVER, command: ['node', '-e', script], env: { CODE: String(code) } });
      expect((await instance.call({})).error).toMatchObject({
        code: 'FUNCTION_FAILED',
        message: `The function answered with status ${code}.`,
        details: { status: code, body: 'why' },
      });
      expect(instance.instance.reusable).toBe(true);
    }
  });

  test('one instance serves one call after another, and keeps its state', async () => {
    const instance = await bench().start(SERVER);
    expect(instance.instance.reusable).toBe(true);
    const pids = new Set<number>();
    for (let i = 0; i < 5; i++) pids.add(JSON.parse((await fetchFrom(instance, '/about')).text).pid);
    expect(pids.size).toBe(1);
  });

  test('megabytes go both ways unharmed', async () => {
    const instance = await bench().start(SERVER);
    const payload = Buffer.alloc(8 * 1024 * 1024, 'pilum');
    const echo = await fetchFrom(instance, '/', { method: 'POST', payload });
    expect(echo.body.equals(payload)).toBe(true);
    expect((await fetchFrom(instance, '/large?bytes=20000000')).body.length).toBe(20_000_000);
    const result = await instance.call(null, { payload, contentType: 'application/octet-stream' });
    expect(result.body.equals(payload)).toBe(true);
  });

  test('an answer goes on as it comes', async () => {
    const instance = await bench().start(SERVER);
    const chunks = new Answered();
    const { text, streamed } = await fetchFrom(instance, '/slow?ms=200', { chunks });
    expect([text, streamed]).toEqual(['part 1\npart 2\npart 3\n', true]);
    const begun = new Answered();
    const stop = new AbortController();
    const call = fetchFrom(instance, '/slow?ms=3600000', { chunks: begun, signal: stop.signal });
    call.catch(() => undefined);
    await waitFor(() => begun.pieces.length > 0, { what: 'the part before it waits' });
    expect(begun.pieces.map(String)).toEqual(['part 1\n']);
    stop.abort(new CallStopped('TaskCancelled'));
    await expect(call).rejects.toMatchObject({ name: 'TaskCancelled' });
  });

  test('a server waits where nobody takes what it answers', async () => {
    const instance = await bench().start(SERVER);
    const chunks = new Answered();
    chunks.wait = new Promise(() => {});
    const stop = new AbortController();
    const call = fetchFrom(instance, '/flood', { chunks, signal: stop.signal });
    call.catch(() => undefined);
    await waitFor(() => chunks.size > 0, { what: 'its first bytes' });
    await sleep(300); // it would have given many by now
    expect(chunks.size).toBeLessThan(1024 * 1024);
    stop.abort(new CallStopped('TaskCancelled'));
    await expect(call).rejects.toThrow();
  });

  test('a result above limits.outputMiB is OUTPUT_TOO_LARGE', async () => {
    const instance = await bench().start({ ...SERVER, limits: { outputMiB: 1 } });
    await expect(instance.call(null, { payload: Buffer.alloc(1_200_000) })).rejects.toMatchObject({
      code: 'OUTPUT_TOO_LARGE',
    });
  });

  test('a server that exits under a call has failed it, and its instance is gone', async () => {
    const instance = await bench().start(SERVER);
    expect((await fetchFrom(instance, '/crash')).error).toMatchObject({
      code: 'FUNCTION_FAILED',
      message: expect.stringContaining('exit code 7'),
      details: { output: expect.stringContaining('going down') },
    });
    expect(instance.instance.reusable).toBe(false);
  });

  test.for([
    ['/closes', 'The server closed the connection before it had answered.'],
    ['/closes-late', 'The server closed the connection before its answer was whole.'],
    ['/garbage', 'What the server answered is not HTTP/1.1 as it must be'],
  ] as const)('a server that answers %s fails the call, and goes on', async ([url, message]) => {
    const instance = await bench().start(SERVER);
    const { error } = await fetchFrom(instance, url);
    expect(error).toMatchObject({ code: 'FUNCTION_FAILED', message: expect.stringContaining(message) });
    expect((await fetchFrom(instance, '/status?code=200')).status).toBe(200);
  });

  test('a server whose head is larger than one may be fails the call, and goes on', async () => {
    const script = `require('http').createServer((request, answer) => {
      if (request.url === '/') for (let i = 0; i < 300; i++) answer.setHeader('x-' + i, 'y'.repeat(20));
      answer.end();
    }).listen(process.env.PORT);`;
    const instance = await bench().start({ ...SERVER, command: ['node', '-e', script] });
    expect((await fetchFrom(instance, '/')).error).toMatchObject({
      code: 'FUNCTION_FAILED',
      message: expect.stringContaining('an answer may have 256 headers'),
    });
    expect((await fetchFrom(instance, '/other')).status).toBe(200);
  });

  test('of a long answer that is a failure only the beginning is taken', async () => {
    const script = `require('http').createServer((_, answer) => {
      answer.statusCode = 500;
      answer.end('x'.repeat(5_000_000));
    }).listen(process.env.PORT);`;
    const instance = await bench().start({ ...SERVER, command: ['node', '-e', script] });
    for (let i = 0; i < 2; i++) {
      const { error } = await instance.call({});
      expect(error).toMatchObject({ code: 'FUNCTION_FAILED', details: { status: 500, body: 'x'.repeat(2048) } });
    }
  });

  test('a call that hangs is ended by its signal', async () => {
    const instance = await bench().start(SERVER);
    const stop = new AbortController();
    const call = fetchFrom(instance, '/hangs', { signal: stop.signal });
    setTimeout(() => stop.abort(new CallStopped('TimeoutError')), 200);
    await expect(call).rejects.toMatchObject({ name: 'TimeoutError' });
    await instance.stop(500);
    expect(await instance.instance.ended).toMatchObject({ reason: 'stopped' });
  });

  test('an instance is ready when its server listens, and no earlier', async () => {
    const since = performance.now();
    const instance = await bench().start({ ...SERVER, env: { LISTEN_AFTER_MS: '700' } });
    expect(performance.now() - since).toBeGreaterThan(690);
    expect((await fetchFrom(instance, '/status?code=200')).status).toBe(200);
  });

  test('a server that never listens does not start, and its last output says why', async () => {
    const deployment = shell('echo "no database" >&2; exec sleep 1000');
    await expect(bench().start(deployment, AbortSignal.timeout(2500))).rejects.toMatchObject({
      code: 'INSTANCE_START_FAILED',
      message: expect.stringContaining('did not listen on $PORT'),
      details: { output: 'no database' },
    });
  });

  test.for([
    [shell('echo "port taken" >&2; exit 5'), '; exit code 5): port taken'],
    [
      { protocol: 'http', command: ['no-such-command'] } as Deployment,
      'There is no command no-such-command in the sandbox.',
    ],
  ] as const)('%o does not start, and the error says why', async ([deployment, message]) => {
    await expect(bench().start(deployment)).rejects.toMatchObject({
      code: 'INSTANCE_START_FAILED',
      message: expect.stringContaining(message),
    });
  });

  test('a server with a health path is ready when that is answered, and well while it is', async () => {
    const healthy = { ...SERVER, http: { healthPath: '/health' } };
    const instance = await bench().start(healthy);
    expect(await instance.instance.check(1000)).toBe(true);
    await fetchFrom(instance, '/sick');
    expect(await instance.instance.check(1000)).toBe(false);
    const wrong = { ...SERVER, http: { healthPath: '/nowhere' } };
    await expect(bench().start(wrong, AbortSignal.timeout(2500))).rejects.toMatchObject({
      code: 'INSTANCE_START_FAILED',
    });
  });

  test('a server that listens no more is not well', async () => {
    const instance = await bench().start(SERVER);
    expect(await instance.instance.check(1000)).toBe(true);
    const { error } = await fetchFrom(instance, '/deaf');
    expect(error).toMatchObject({ code: 'FUNCTION_FAILED' });
    // It is still there: something else keeps its process.
    if (instance.instance.reusable) expect(await instance.instance.check(1000)).toBe(false);
  });

  test('a server that is stopped is told, and has its grace', async () => {
    const instance = await bench().start(SERVER);
    const chunks = new Answered();
    const call = fetchFrom(instance, '/slow?ms=300', { chunks });
    call.catch(() => undefined); // it ends with its server, and the last piece may end with the bridge
    await waitFor(() => chunks.size > 0, { what: 'the first piece' });
    await instance.stop(5000);
    expect(Buffer.concat(chunks.pieces).toString()).toContain('part 3');
    expect(await instance.instance.ended).toMatchObject({ reason: 'stopped', exitCode: 0, lastOutput: 'told to end' });
  });

  test('a server has its own descriptors and no others', async () => {
    const script = `
      const { readdirSync, readlinkSync } = require('fs');
      const open = readdirSync('/proc/self/fd').map((fd) => { try { return fd + ' ' + readlinkSync('/proc/self/fd/' + fd); } catch { return ''; } });
      require('http').createServer((_, answer) => answer.end(JSON.stringify(open))).listen(process.env.PORT);`;
    const instance = await bench().start({ ...SERVER, command: ['node', '-e', script] });
    const open = JSON.parse((await fetchFrom(instance, '/')).text) as string[];
    // It looks before it listens, and what it prints goes to sockets.
    expect(open.filter((line) => /^(?:[3-9]|\d\d+) socket:/.test(line))).toEqual([]);
  });

  test('nothing is left of a server that has ended', async () => {
    const instance = await bench().start(SERVER);
    await fetchFrom(instance, '/status?code=200');
    await instance.stop();
    expect(await bench().open.leftovers(instance.instance.instanceId)).toEqual([]);
  });

  test('a server with the network of its host is reached as well', async () => {
    const instance = await bench().start({ ...SERVER, limits: { network: 'host' } });
    expect((await fetchFrom(instance, '/status?code=201')).status).toBe(201);
  });

  test('a server with a port of its own is reached there, and finds it in $PORT', async () => {
    const port = await freePort();
    const script = `require('http').createServer((_, answer) => answer.end(process.env.PORT)).listen(${port});`;
    const instance = await bench().start({ ...SERVER, command: ['node', '-e', script], http: { port } });
    expect((await fetchFrom(instance, '/')).text).toBe(String(port));
  });

  test('several calls at a time reach one server, where its version says so', async () => {
    const instance = await bench().start({ ...SERVER, pool: { concurrency: 8 } });
    const answers = await Promise.all(Array.from({ length: 8 }, () => fetchFrom(instance, '/wait?ms=300')));
    expect(answers.map(({ text }) => text)).toEqual(Array.from({ length: 8 }, () => '8'));
  });

  test('an answer that comes before the request was read arrives', async () => {
    const script = `
      require('http').createServer((_, answer) => {
        answer.writeHead(413, { connection: 'close' });
        answer.end('too large');
      }).listen(process.env.PORT);`;
    const instance = await bench().start({ ...SERVER, command: ['node', '-e', script] });
    const payload = Buffer.alloc(5 * 1024 * 1024, 'x');
    for (let i = 0; i < 10; i++) {
      const { status, text } = await fetchFrom(instance, '/', { method: 'POST', payload });
      expect([i, status, text]).toEqual([i, 413, 'too large']);
    }
  });

  test('a connection that the server has closed under a request is followed by another, where that may be', async () => {
    // It keeps a connection for one request, says that it keeps it for more, and reads the second before it closes.
    const script = `
      require('net').createServer((socket) => {
        let count = 0;
        socket.on('error', () => {});
        socket.on('data', () => {
          if (++count > 1) return socket.destroy();
          socket.write('HTTP/1.1 200 OK\\r\\ncontent-length: 4\\r\\n\\r\\nkept');
        });
      }).listen(process.env.PORT);`;
    const instance = await bench().start({ ...SERVER, command: ['node', '-e', script.replaceAll('\\\\', '\\')] });
    for (const method of ['GET', 'GET', 'PUT', 'DELETE']) {
      expect([method, (await fetchFrom(instance, '/', { method })).text]).toEqual([method, 'kept']);
    }
    // Nobody knows whether it was done.
    expect((await fetchFrom(instance, '/', { method: 'POST' })).error?.code).toBe('FUNCTION_FAILED');
  });

  test('a connection that the server closed before anything was sent is followed by another for a POST too', async () => {
    // It answers with how many requests it has read, and closes a moment later without having said so.
    const script = `
      let count = 0;
      require('net').createServer((socket) => {
        socket.on('error', () => {});
        socket.on('data', (bytes) => {
          if (!/^POST/.test(bytes)) return;
          const text = String(++count);
          socket.write('HTTP/1.1 200 OK\\r\\ncontent-length: ' + text.length + '\\r\\n\\r\\n' + text);
          setTimeout(() => socket.destroy(), 5);
        });
      }).listen(process.env.PORT);`;
    const command = ['node', '-e', script.replaceAll('\\\\', '\\')];
    const instance = await bench().start({ ...SERVER, pool: { concurrency: 4 }, command });
    const payload = Buffer.from('x');
    for (let i = 1; i <= 20; i++) {
      const { text, error } = await fetchFrom(instance, '/', { method: 'POST', payload });
      expect([text, error]).toEqual([String(i), undefined]);
      // It closes while this process has no eyes for it, and the next request is made before it has.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60);
    }
  });

  test('a call that is ended from outside leaves the server to the others', async () => {
    const instance = await bench().start({ ...SERVER, pool: { concurrency: 4 } });
    const { pid } = JSON.parse((await fetchFrom(instance, '/about')).text);
    const leave = new AbortController();
    const taskId = 'test.01J8ZQ5V7N3K4M6P8R9S0T1V2X';
    const chunks = new Answered();
    const left = fetchFrom(instance, '/slow?ms=200', { chunks, signal: leave.signal, taskId }).catch(() => 'left');
    const stays = fetchFrom(instance, '/slow?ms=100');
    await waitFor(() => chunks.size > 0, { what: 'its first bytes' });
    leave.abort(new CallStopped('TaskCancelled'));
    expect(instance.instance.outlives?.(taskId, false)).toBe(true);
    expect(await left).toBe('left');
    expect((await stays).text).toBe('part 1\npart 2\npart 3\n');
    expect(JSON.parse((await fetchFrom(instance, '/about')).text).pid).toBe(pid);
  });

  test('a server that says nothing to anybody until a call has run out of its time is not left to the others', async () => {
    const instance = await bench().start({ ...SERVER, pool: { concurrency: 2 } });
    const hanging = (taskId: string) => {
      const leave = new AbortController();
      fetchFrom(instance, '/hangs', { signal: leave.signal, taskId }).catch(() => undefined);
      return (isTimeout: boolean) => {
        leave.abort();
        return instance.instance.outlives?.(taskId, isTimeout);
      };
    };
    expect(hanging('test.01J8ZQ5V7N3K4M6P8R9S0T1V20')(true)).toBe(false);
    const end = hanging('test.01J8ZQ5V7N3K4M6P8R9S0T1V21');
    await fetchFrom(instance, '/about');
    expect(end(true), 'it has answered another').toBe(true);
    const ends = ['22', '23', '24'].map((id) => hanging(`test.01J8ZQ5V7N3K4M6P8R9S0T1V${id}`));
    expect(ends.map((leaves) => leaves(false))).toEqual([true, true, false]);
    const alone = await bench().start(SERVER);
    expect(alone.instance.outlives?.('test.01J8ZQ5V7N3K4M6P8R9S0T1V2W', false)).toBe(false);
  });
}

/** What holds besides where functions are kept from the machine. */
export function closedHttpContract(bench: () => Bench): void {
  test('a server that listens elsewhere than on $PORT is told where, and what to say', async () => {
    const script = `require('http').createServer().listen(3456, () => require('net').createServer().listen(3457, '127.0.0.1'));`;
    const deaf = bench().start({ ...SERVER, command: ['node', '-e', script] }, AbortSignal.timeout(4000));
    const error = await deaf.catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'INSTANCE_START_FAILED', details: { port: 8080 } });
    const { message, details } = error as { message: string; details: { listeningOn: number[] } };
    expect(details.listeningOn.sort()).toEqual([3456, 3457]);
    expect(message).toMatch(
      /did not listen on \$PORT \(8080\).*it listens on 345\d, 345\d.*\{"http": \{"port": 345\d\}\}/,
    );
    const unwell = bench().start({ ...SERVER, http: { healthPath: '/nowhere' } }, AbortSignal.timeout(4000));
    expect(await unwell.catch(({ message }: Error) => message)).toMatch(
      /listens on port 8080, and did not answer GET \/nowhere/,
    );
  });

  test('a server without network is reached, and reaches nothing', async () => {
    const { createServer } = await import('node:net');
    const outside = createServer().listen(0, '127.0.0.1');
    await waitFor(() => outside.listening);
    const { port } = outside.address() as { port: number };
    const instance = await bench().start(SERVER);
    expect((await fetchFrom(instance, `/reach?host=127.0.0.1&port=${port}`)).text).toBe('ECONNREFUSED');
    expect((await fetchFrom(instance, `/reach?host=1.1.1.1&port=53`)).text).toMatch(/^E(?:NETUNREACH|HOSTUNREACH)$/);
    outside.close();
  });
}
