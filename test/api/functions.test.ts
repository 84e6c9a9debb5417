import type { Ticket } from '@pilum/core/schemas/task.ts';
import { beforeAll, describe, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';
import { startApi, type TestApi } from './support/api.ts';
import { TestWorker } from './support/worker.ts';

let redis: TestRedis;
let api: TestApi;
let worker: TestWorker;
const kept = keep();
beforeAll(async () => {
  redis = kept.add(await startRedis());
  api = kept.add(await startApi({ url: redis.url }));
  worker = kept.add(new TestWorker(redis.url));
  await worker.report();
  for (const id of ['seen', 'lost', 'headed', 'plain']) await api.deploy(id);
});

const answered = (headers: [string, string][], data = 'body', status = 200) => ({
  status: 'completed' as const,
  result: {
    contentType: 'text/plain',
    sizeBytes: data.length,
    encoding: 'utf8' as const,
    data,
    head: { status, headers },
  },
});

describe('a call of a function as a web endpoint', () => {
  it('travels with the request as it was, but for what is ours and the connection’s', async () => {
    let ticket: Ticket | undefined;
    worker.serve('seen', (seen) => {
      ticket = seen;
      return answered([]);
    });
    const { status } = await api.call('PUT', '/fn/seen@1/a%2Fb//c?x=%20&x', {
      body: Buffer.from('{not json'),
      headers: {
        authorization: 'Basic b3duOm93bg==',
        connection: 'keep-alive, x-hop',
        'content-type': 'application/json',
        'idempotency-key': 'of the function',
        'pilum-timeout': '3s',
        te: 'trailers',
        cookie:
          'grafana_session=abc; pilum.default.seen.own=1; pilum.default.other.own=2; pilum.default.seen.=nameless',
        forwarded: 'for=203.0.113.7',
        'x-forwarded-for': '203.0.113.7',
        'x-forwarded-proto': 'https',
        'x-forwarded-user': 'admin',
        x_forwarded_for: '203.0.113.7',
        'x-real-ip': '203.0.113.7',
        'x-hop': '1',
      },
    });
    expect(status).toBe(200);
    expect(ticket).toMatchObject({
      mode: 'stream',
      http: { method: 'PUT', url: '/a%2Fb//c?x=%20&x' },
      keyed: false,
      maxAttempts: 1,
      runTimeoutMs: 3000,
      headers: {
        // There is no key of ours here, and so it is not ours.
        authorization: 'Basic b3duOm93bg==',
        'idempotency-key': 'of the function',
        cookie: 'own=1; nameless',
        'x-forwarded-for': '127.0.0.1',
        'x-forwarded-host': '127.0.0.1:8080',
        'x-forwarded-proto': 'http',
        'x-forwarded-prefix': '/fn/seen@1',
      },
    });
    for (const name of [
      ...['connection', 'te', 'x-hop', 'pilum-timeout', 'content-length'],
      ...['forwarded', 'x-forwarded-user', 'x_forwarded_for', 'x-real-ip'],
    ]) {
      expect(ticket?.headers).not.toHaveProperty(name);
    }
  });

  it('whose answer is lost on its way finds it all the same, and soon', async () => {
    const since = performance.now();
    const call = api.call('GET', '/fn/lost');
    const held = await waitFor(() => worker.take('lost'));
    await worker.end(held, answered([['x-own', '1']]), null);
    const { status, text, headers } = await call;
    expect([status, text, headers['x-own'], headers['content-length']]).toEqual([200, 'body', '1', '4']);
    // Not at the end of the wait for an answer.
    expect(performance.now() - since).toBeLessThan(9000);
  });

  it.each([
    ['location', 'http://127.0.0.1:8080/a?b#c', '/fn/headed/a?b#c'],
    ['location', '/fn/headed/there', '/fn/headed/there'],
    ['location', '/fn/headed-not', '/fn/headed/fn/headed-not'],
    ['location', 'https://elsewhere.example/a', 'https://elsewhere.example/a'],
    ['location', '//elsewhere.example/a', 'http://elsewhere.example/a'],
    ['location', 'next', '/fn/headed/next'],
    ['location', '/fn/headed/../../v1/artifacts/headed', '/fn/headed/v1/artifacts/headed'],
    ['location', '/fn/evil/../../v1/artifacts/headed', '/fn/headed/v1/artifacts/headed'],
    ['content-location', '/a', '/fn/headed/a'],
    ['set-cookie', 'a=1', 'pilum.default.headed.a=1; Path=/fn/headed'],
    ['set-cookie', 'a=1; PATH=/fn/other; domain=x', 'pilum.default.headed.a=1; Path=/fn/headed/fn/other'],
    ['set-cookie', 'a=b=c; path=/fn/headed/deep', 'pilum.default.headed.a=b=c; Path=/fn/headed/deep'],
    ['alt-svc', 'h3=":443"', undefined],
    ['transfer-encoding', 'gzip', undefined],
    ['x-sendfile', '/etc/passwd', undefined],
    ['cache-control', 'public, max-age=60', 'public, max-age=60'],
    ['content-length', '99', '4'],
  ])('whose answer says %s: %s says %s', async (name, value, expected) => {
    const call = api.call('GET', '/fn/headed/asked');
    await worker.end(await waitFor(() => worker.take('headed')), answered([[name, value]]));
    const { headers } = await call;
    expect(headers[name]).toEqual(expected);
    expect(headers['content-security-policy']).toContain('sandbox');
    expect(headers['content-security-policy']).not.toContain('allow-same-origin');
  });

  it('that gave a result and no head answers with it, and its content type', async () => {
    const call = api.call('GET', '/fn/plain');
    const held = await waitFor(() => worker.take('plain'));
    await worker.end(held, { contentType: 'application/json', body: '{"a":1}' });
    const { status, headers, json } = await call;
    expect([status, headers['content-type'], json]).toEqual([200, 'application/json', { a: 1 }]);
    expect(headers['pilum-task-id']).toBe(held.ticket.taskId);
  });

  it('with text that nobody can read is refused before its handler fails over it', async () => {
    const headers = { 'content-type': 'text/plain; charset=hex' };
    const { status, json } = await api.call('POST', '/fn/plain', { body: 'x', headers });
    expect([status, json.error.details.problems[0].where]).toEqual([400, '/headers/content-type']);
  });

  it('lets pages act as whoever opened them where the operator trusts them', async () => {
    const trusting = await startApi({ url: redis.url, deps: { trustsPages: true } });
    const call = trusting.call('GET', '/fn/plain');
    await worker.end(await waitFor(() => worker.take('plain')), answered([['content-type', 'text/html']], '<p>'));
    const { headers, text } = await call;
    expect([headers['content-security-policy'], headers['content-type'], text]).toEqual([
      undefined,
      'text/html',
      '<p>',
    ]);
    await trusting.close();
  });
});
