import { createServer, type Server } from 'node:net';
import fc from 'fast-check';
import type { Call } from '../../apps/worker/src/runtimes/contract/runtime.ts';
import { ConnectionLost, ServerClient } from '../../apps/worker/src/runtimes/protocols/http/server-client.ts';
import { Throttle } from '../../apps/worker/src/runtimes/protocols/output/throttle.ts';

/** So long is waited for the rest of an answer that does not say where it ends, ms. */
const ENOUGH_MS = 100;
const LIMIT_BYTES = 1_048_576;

const crlf = fc.constantFrom('\r\n', '\r\n', '\r\n', '\n', '\r', '');
const token = fc.oneof(
  fc.constantFrom(
    'content-type',
    'content-length',
    'transfer-encoding',
    'connection',
    'trailer',
    'set-cookie',
    'location',
    'x',
  ),
  fc.string({ maxLength: 12 }),
);
const value = fc.oneof(
  fc.constantFrom(
    'text/plain',
    'chunked',
    'gzip, chunked',
    '0',
    '3',
    '-1',
    '99999999999999999999',
    '0x10',
    'close',
    'keep-alive',
  ),
  fc.string({ unit: 'binary', maxLength: 40 }),
);
const header = fc.tuple(token, fc.constantFrom(': ', ':', ' : ', ''), value, crlf).map((parts) => parts.join(''));
const status = fc
  .tuple(
    fc.constantFrom('HTTP/1.1', 'HTTP/1.1', 'HTTP/1.1', 'HTTP/1.0', 'HTTP/2', 'http/1.1', ''),
    fc.oneof(fc.constantFrom(200, 200, 200, 100, 101, 103, 204, 304, 500), fc.integer({ min: -1, max: 1000 })),
    fc.constantFrom(' OK', '', ' \u00e9'),
    crlf,
  )
  .map(([version, code, reason, end]) => `${version} ${code}${reason}${end}`);
const chunk = fc
  .tuple(
    fc.oneof(fc.nat({ max: 20 }), fc.constantFrom('ffffffffffffffff', '-1', 'x', '')),
    fc.string({ maxLength: 20 }),
    crlf,
  )
  .map(([size, text, end]) => `${typeof size === 'number' ? size.toString(16) : size}${end}${text}${end}`);
const body = fc.oneof(
  fc.array(chunk, { maxLength: 5 }).map((chunks) => `${chunks.join('')}0\r\n\r\n`),
  fc.string({ unit: 'binary', maxLength: 100 }),
  fc.constant('abc'),
);
const part = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .tuple(status, fc.array(header, { maxLength: 5 }), crlf, body)
      .map(([line, headers, end, rest]) => line + headers.join('') + end + rest),
  },
  fc.string({ unit: 'binary', maxLength: 60 }),
);
const answer = fc.record({
  parts: fc.array(part, { minLength: 1, maxLength: 3 }),
  cuts: fc.array(fc.integer({ min: 1, max: 100 }), { maxLength: 4 }),
  ends: fc.constantFrom('end', 'destroy', 'stays'),
  isWeb: fc.boolean(),
  isStreamed: fc.boolean(),
});

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as { port: number }).port;
}

/** Whatever a server answers, the call has a result or fails as a call may, and nothing is thrown elsewhere. */
export const httpAnswerProperty = fc.asyncProperty(answer, async ({ parts, cuts, ends, isWeb, isStreamed }) => {
  const wire = Buffer.from(parts.join(''), 'latin1');
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => {
      for (let at = 0, turn = 0; at < wire.length; turn++) {
        const size = cuts[turn % Math.max(1, cuts.length)] ?? wire.length;
        socket.write(wire.subarray(at, at + size));
        at += size;
      }
      if (ends === 'end') socket.end();
      else if (ends === 'destroy') socket.destroySoon();
    });
  });
  const port = await listen(server);
  const address = { host: '127.0.0.1', port, socketPath: null };
  const client = new ServerClient(address, { connections: 1, limitBytes: LIMIT_BYTES, throttle: new Throttle() });
  const call: Call = {
    taskId: 't',
    attempt: 1,
    deadlineMs: Date.now() + 60_000,
    contentType: 'application/json',
    payload: Buffer.from('{}'),
    headers: {},
    http: isWeb ? { method: 'GET', url: '/' } : null,
    traceparent: null,
    log: { write: () => {} },
    chunks: isStreamed || isWeb ? { take: () => null } : null,
    progress: () => {},
    signal: new AbortController().signal,
  };
  const enough = AbortSignal.timeout(ENOUGH_MS);
  try {
    const result = await client.call(call, enough);
    if (!result.ok && result.error.code !== 'FUNCTION_FAILED') throw new Error(`it failed as ${result.error.code}`);
    if (result.ok && result.body.length > LIMIT_BYTES) throw new Error('it is larger than it may be');
  } catch (error) {
    const isKnown = error === enough.reason || error instanceof ConnectionLost;
    if (!isKnown) throw error;
  } finally {
    await client.close();
    server.close();
  }
});
