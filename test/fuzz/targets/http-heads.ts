import { connect } from 'node:net';
import { text as textOf } from 'node:stream/consumers';
import fc from 'fast-check';
import { openApi } from '../support/api.ts';
import type { FuzzTarget } from '../target.ts';

const WAIT_MS = 10_000;

const word = fc.oneof(
  fc.constantFrom('GET', 'PUT', 'POST', 'TRACE', 'CONNECT', 'OPTIONS', 'PRI', 'get', 'BREW', ''),
  fc.string({ maxLength: 12 }),
);
const path = fc.oneof(
  fc.constantFrom(
    '/livez',
    '/v1/artifacts',
    '/v1/artifacts/a/invoke',
    '/fn/a/b?c',
    '*',
    'http://x/v1/artifacts',
    '//',
    '/%00',
    '/%zz',
    '/..%2f',
    '',
    '/v1/tasks/retry',
    '/admin/queues',
  ),
  fc.webPath(),
  fc.string({ maxLength: 30 }).map((rest) => `/${rest}`),
);
const headerName = fc.oneof(
  fc.constantFrom(
    'content-length',
    'transfer-encoding',
    'content-type',
    'content-encoding',
    'expect',
    'upgrade',
    'connection',
    'host',
    'Host',
    'origin',
    'authorization',
    'pilum-mode',
    'pilum-namespace',
    'idempotency-key',
    'traceparent',
    'last-event-id',
    'accept',
    'x-a',
    '__proto__',
    ' x',
    'x ',
    '',
  ),
  fc.string({ maxLength: 10 }),
);
const headerValue = fc.oneof(
  fc.constantFrom(
    '0',
    '5',
    '-1',
    '1e3',
    'chunked',
    'gzip',
    'application/json',
    'text/plain; charset=x',
    'close',
    'h2c',
    'websocket',
    '100-continue',
    '*',
    'async',
  ),
  fc.string({ maxLength: 30 }),
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.nat({ max: 20_000 }).map((length) => 'x'.repeat(length)),
);
const end = fc.constantFrom('\r\n', '\r\n', '\r\n', '\r\n', '\n', '\r', '\r\n ', '');
const request = fc.record({
  method: word,
  path,
  version: fc.constantFrom('HTTP/1.1', 'HTTP/1.1', 'HTTP/1.1', 'HTTP/1.0', 'HTTP/2.0', 'HTTP/9', ''),
  hasHost: fc.boolean(),
  headers: fc.array(fc.tuple(headerName, headerValue, end), { maxLength: 5 }),
  body: fc.oneof(
    fc.constantFrom('', '{}', '{"a":', '0\r\n\r\n', '2\r\n{}\r\n0\r\n\r\n', 'zz\r\n'),
    fc.string({ maxLength: 30 }),
  ),
});

/** What comes over a connection before there is a request. */
export const target: FuzzTarget = {
  name: 'http-heads',
  holds: 'whatever is sent, the answer is HTTP, is no failure of ours and has the form of an error where it is one',
  async open() {
    const { app, close } = await openApi();
    await app.listen({ host: '127.0.0.1', port: 0 });
    const { port } = app.server.address() as { port: number };
    const property = fc.asyncProperty(request, async ({ method, path, version, hasHost, headers, body }) => {
      const lines = headers.map(([name, value, lineEnd]) => `${name}: ${value}${lineEnd}`).join('');
      const host = hasHost ? `host: 127.0.0.1:${port}\r\n` : '';
      const socket = connect(port, '127.0.0.1');
      const late = setTimeout(() => socket.destroy(new Error('no answer, and no end')), WAIT_MS);
      socket.end(`${method} ${path} ${version}\r\n${host}connection: close\r\n${lines}\r\n${body}`);
      let said: string;
      try {
        said = await textOf(socket);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ECONNRESET') return;
        throw error;
      } finally {
        clearTimeout(late);
      }
      for (const answer of said.split(/(?=^HTTP\/1\.1 \d{3} )/m)) requireAnswer(answer);
    });
    return { property, close };
  },
};

/** @throws Error where an answer is none */
function requireAnswer(answer: string): void {
  if (answer === '') return;
  const [, status = ''] = /^HTTP\/1\.1 (\d{3}) /.exec(answer) ?? [];
  if (status === '') throw new Error(`no HTTP: ${JSON.stringify(answer.slice(0, 200))}`);
  if (Number(status) < 400) return;
  const isOurs = /"code":"(?:NO_WORKER|NOT_IMPLEMENTED)"/.test(answer);
  if (Number(status) >= 500 && !isOurs && !/\/readyz/.test(answer)) throw new Error(answer);
  const [head = '', text = ''] = answer.split('\r\n\r\n');
  // There is nothing to be read behind the head of an answer to HEAD.
  if (text === '' || /^transfer-encoding: chunked/im.test(head)) return;
  const { error } = JSON.parse(text) as { error?: { code?: string } };
  if (typeof error?.code !== 'string') throw new Error(answer);
}
