import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { startApi, type TestApi } from './support/api.ts';

let redis: TestRedis;
let api: TestApi;
let port: number;
beforeAll(async () => {
  redis = await startRedis();
  api = await startApi({ url: redis.url });
  await api.app.listen({ host: '127.0.0.1', port: 0 });
  port = (api.app.server.address() as { port: number }).port;
});
afterAll(async () => {
  await api.close();
  await redis.close();
});

/** Sends bytes as they are, and gives what comes back until the connection is closed, one answer after the other. */
async function raw(
  request: string,
): Promise<{ status: number; head: string; error: { code: string; message: string } }[]> {
  const socket = connect(port, '127.0.0.1');
  socket.write(request.replaceAll('HOST', `127.0.0.1:${port}`));
  let text = '';
  socket.on('error', () => undefined);
  for await (const chunk of socket) text += chunk;
  return text
    .split(/(?=HTTP\/1\.1 \d{3} )/)
    .filter((answer) => !answer.startsWith('HTTP/1.1 100'))
    .map((answer) => {
      const [head = '', body = ''] = answer.split('\r\n\r\n');
      expect(head).toContain('content-type: application/json');
      return { status: Number(head.split(' ')[1]), head, error: JSON.parse(body).error };
    });
}

const CLOSE = 'host: HOST\r\nconnection: close\r\n';

describe('what is refused before it comes to a route', () => {
  it.each([
    [
      'headers that are too large',
      `GET / HTTP/1.1\r\n${CLOSE}cookie: ${'c'.repeat(17_000)}\r\n\r\n`,
      431,
      'HEADERS_TOO_LARGE',
    ],
    ['a target that is too large', `GET /?${'q'.repeat(17_000)} HTTP/1.1\r\n${CLOSE}\r\n`, 431, 'HEADERS_TOO_LARGE'],
    ['no HTTP', 'THIS IS NOT HTTP\r\n\r\n', 400, 'VALIDATION_FAILED'],
    ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400, 'VALIDATION_FAILED'],
    ['a length that is none', `POST / HTTP/1.1\r\n${CLOSE}content-length: x\r\n\r\n`, 400, 'VALIDATION_FAILED'],
    [
      'two lengths',
      `POST / HTTP/1.1\r\n${CLOSE}content-length: 1\r\ncontent-length: 2\r\n\r\nab`,
      400,
      'VALIDATION_FAILED',
    ],
    [
      'a length and chunks',
      `POST / HTTP/1.1\r\n${CLOSE}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
      400,
      'VALIDATION_FAILED',
    ],
    [
      'a chunk that is none',
      `POST /v1/tasks/retry HTTP/1.1\r\n${CLOSE}content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n`,
      400,
      'VALIDATION_FAILED',
    ],
    ['a name with a space', `GET / HTTP/1.1\r\n${CLOSE}a b: c\r\n\r\n`, 400, 'VALIDATION_FAILED'],
    ['a NUL', `GET / HTTP/1.1\r\n${CLOSE}a: b\0c\r\n\r\n`, 400, 'VALIDATION_FAILED'],
    ['a method that nobody knows', `BREW / HTTP/1.1\r\n${CLOSE}\r\n`, 400, 'VALIDATION_FAILED'],
    ['no Host', 'GET /livez HTTP/1.1\r\nconnection: close\r\n\r\n', 400, 'VALIDATION_FAILED'],
    ['two of Host', `GET /livez HTTP/1.1\r\n${CLOSE}Host: evil.example\r\n\r\n`, 400, 'VALIDATION_FAILED'],
    [
      'two content types',
      `POST /v1/tasks/retry HTTP/1.1\r\n${CLOSE}content-type: a/b\r\nContent-Type: application/json\r\n\r\n`,
      400,
      'VALIDATION_FAILED',
    ],
    ['CONNECT', `CONNECT example.org:443 HTTP/1.1\r\n${CLOSE}\r\n`, 405, 'METHOD_NOT_ALLOWED'],
    ['TRACE', `TRACE /v1/artifacts HTTP/1.1\r\n${CLOSE}\r\n`, 405, 'METHOD_NOT_ALLOWED'],
    ['an expectation', `POST /v1/tasks/retry HTTP/1.1\r\n${CLOSE}expect: a miracle\r\n\r\n`, 417, 'EXPECTATION_FAILED'],
    [
      'an upgrade',
      `GET /v1/nowhere HTTP/1.1\r\nhost: HOST\r\nconnection: close, upgrade\r\nupgrade: websocket\r\n\r\n`,
      404,
      'ROUTE_NOT_FOUND',
    ],
    ['another site’s target', `GET http://evil.example/v1/nowhere HTTP/1.1\r\n${CLOSE}\r\n`, 404, 'ROUTE_NOT_FOUND'],
    ['a target that is badly encoded', `GET /v1/artifacts/%zz HTTP/1.1\r\n${CLOSE}\r\n`, 400, 'VALIDATION_FAILED'],
  ])('%s has an error of the table', async (_what, request, status, code) => {
    const answers = await raw(request);
    expect(answers.map((answer) => [answer.status, answer.error.code])).toEqual([[status, code]]);
    expect(answers[0]?.error.message).toMatch(/\.$/);
  });

  it('says which methods there are', async () => {
    const [answer] = await raw(`TRACE /v1/artifacts/a HTTP/1.1\r\n${CLOSE}\r\n`);
    expect(answer?.head.toLowerCase()).toContain('allow: delete, get, put');
  });

  it('comes after the answers to the requests before it on the same connection', async () => {
    const answers = await raw('GET /v1/nowhere HTTP/1.1\r\nhost: HOST\r\n\r\nNO HTTP\r\n\r\n');
    expect(answers.map(({ status }) => status)).toEqual([404, 400]);
  });
});
