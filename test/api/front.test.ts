import type { Ticket } from '@pilum/core/schemas/task.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { frontOf } from '../../apps/api/src/auth/front-of.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { startApi, type TestApi } from './support/api.ts';
import { TestWorker } from './support/worker.ts';

const KEY = 'a-key-of-16-chars-or-more';
const authorization = `Bearer ${KEY}`;

let redis: TestRedis;
let worker: TestWorker;
let last: Ticket | undefined;
const apis: TestApi[] = [];
beforeAll(async () => {
  redis = await startRedis();
  worker = new TestWorker(redis.url);
  await worker.report();
  const first = await start({});
  await first.deploy('web', { public: true });
  await first.deploy('private', {});
  for (const id of ['web', 'private']) {
    worker.serve(id, (ticket) => {
      last = ticket;
      const headers: [string, string][] = [
        ['location', '/login'],
        ['set-cookie', 'a=1; Path=/'],
      ];
      return {
        status: 'completed',
        result: {
          contentType: 'text/html',
          sizeBytes: 2,
          encoding: 'utf8',
          data: 'ok',
          head: { status: 302, headers },
        },
      };
    });
  }
});
afterAll(async () => {
  for (const api of apis) await api.close();
  await worker.close();
  await redis.close();
});

async function start(settings: Parameters<typeof frontOf>[0], key?: string): Promise<TestApi> {
  const api = await startApi({ url: redis.url, front: frontOf(settings), ...(key === undefined ? {} : { key }) });
  apis.push(api);
  return api;
}

describe('an API on loopback behind a proxy', () => {
  it('answers to any host where there is a key', async () => {
    const api = await start({}, KEY);
    for (const host of ['pilum.example', '10.0.0.1:8080', 'localhost']) {
      const answer = await api.call('GET', '/v1/artifacts', { headers: { host, authorization } });
      expect([host, answer.status]).toEqual([host, 200]);
    }
    // A page of ours, which the browser knows by another name than we are called by.
    const page = { authorization, origin: 'https://pilum.example', 'sec-fetch-site': 'same-origin' };
    expect((await api.call('POST', '/fn/private', { headers: page, body: 'x' })).status).toBe(302);
    const { 'sec-fetch-site': _, ...older } = page;
    expect((await api.call('POST', '/fn/private', { headers: older, body: 'x' })).status).toBe(403);
  });

  it('has an address that the operator names', async () => {
    const api = await start({ PUBLIC_URL: 'https://example.com/pilum/' });
    const answer = await api.call('GET', '/fn/web/a', {
      headers: { host: 'example.com', origin: 'https://example.com' },
    });
    expect(answer.headers.location).toBe('/pilum/fn/web/login');
    expect(answer.headers['set-cookie']).toBe('pilum.default.web.a=1; Path=/pilum/fn/web');
    expect(last?.headers).toMatchObject({
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'example.com',
      'x-forwarded-prefix': '/pilum/fn/web',
    });
    expect((await api.call('GET', '/fn/web', { headers: { host: 'evil.example' } })).status).toBe(403);
    expect((await api.call('GET', '/fn/web', { headers: { origin: 'https://evil.example' } })).status).toBe(403);
  });

  it('has pages and a document that say where they are', async () => {
    const api = await start({ PUBLIC_URL: 'https://example.com/pilum' });
    const { text } = await api.call('GET', '/docs');
    expect(text).toContain('href="/pilum/docs/static/');
    expect(text).not.toMatch(/(?:href|src)="\/docs/);
    expect((await api.call('GET', '/admin/queues')).text).toContain('<base href="/pilum/admin/queues/"');
    for (const path of ['/openapi.json', '/docs/json']) {
      expect((await api.call('GET', path)).json.servers).toEqual([{ url: '/pilum' }]);
    }
    const usual = await start({});
    expect((await usual.call('GET', '/admin/queues')).text).toContain('<base href="/admin/queues/"');
    expect((await usual.call('GET', '/openapi.json')).json.servers).toMatchObject([{ url: '/' }]);
  });

  it('believes a proxy that the operator trusts, and nobody else', async () => {
    const said = {
      'x-forwarded-for': '203.0.113.7',
      'x-forwarded-host': 'spoofed.example, example.com',
      'x-forwarded-prefix': '/pilum/',
      'x-forwarded-proto': 'https',
      'x-forwarded-user': 'ada',
      authorization,
    };
    const trusting = await start({ TRUST_PROXY: '10.0.0.1, loopback' }, KEY);
    const answer = await trusting.call('GET', '/fn/web', { headers: said });
    expect(answer.headers.location).toBe('/pilum/fn/web/login');
    expect(last?.headers).toMatchObject({
      'x-forwarded-for': '203.0.113.7, 127.0.0.1',
      'x-forwarded-host': 'example.com',
      'x-forwarded-prefix': '/pilum/fn/web',
      'x-forwarded-proto': 'https',
      'x-forwarded-user': 'ada',
    });
    for (const prefix of ['/../v1', '/a//b', 'https://evil.example', '/a?b', '/%2e%2e']) {
      const odd = await trusting.call('GET', '/fn/web', { headers: { ...said, 'x-forwarded-prefix': prefix } });
      expect([prefix, odd.headers.location]).toEqual([prefix, '/fn/web/login']);
    }
    const other = await start({ TRUST_PROXY: '10.0.0.0/8' }, KEY);
    expect((await other.call('GET', '/fn/web', { headers: said })).headers.location).toBe('/fn/web/login');
    expect(last?.headers).toMatchObject({ 'x-forwarded-for': '127.0.0.1', 'x-forwarded-proto': 'http' });
    expect(last?.headers).not.toHaveProperty('x-forwarded-user');
  });
});

describe('a function with a host of its own', () => {
  const host = 'shop.example:8080';
  const settings = {
    FUNCTION_HOSTS: 'shop.example=web, team.example=team/web@1',
    PUBLIC_URL: 'https://example.com/pilum',
  };

  it('has every path of it, and nothing before them', async () => {
    const api = await start(settings);
    for (const url of ['/', '/v1/artifacts?x=1', '/fn/private/x', '/livez', '//a/..%2f', '/docs/', '/?a']) {
      const answer = await api.call('POST', url, { headers: { host, cookie: 'own=1' }, body: 'x' });
      expect([url, answer.status, last?.artifactId, last?.http?.url]).toEqual([url, 302, 'web', url]);
      expect(answer.headers).toMatchObject({ location: '/login', 'set-cookie': 'a=1; Path=/' });
      expect(answer.headers).not.toHaveProperty('content-security-policy');
    }
    expect(last?.headers).toMatchObject({ cookie: 'own=1', 'x-forwarded-host': host, 'x-forwarded-proto': 'http' });
    expect(last?.headers).not.toHaveProperty('x-forwarded-prefix');
    expect((await api.call('GET', 'http://shop.example/deep?x', { headers: { host } })).status).toBe(302);
    expect(last?.http?.url).toBe('/deep?x');
  });

  it('is an origin of its own, to its pages and to those of the API', async () => {
    const api = await start(settings);
    const from = (origin: string, site: string) => ({ origin, 'sec-fetch-site': site });
    const own = { host, ...from('http://shop.example:8080', 'same-origin') };
    expect((await api.call('POST', '/pay', { headers: own, body: 'x' })).status).toBe(302);
    const foreign = { host, ...from('http://127.0.0.1:8080', 'cross-site') };
    expect((await api.call('POST', '/pay', { headers: foreign, body: 'x' })).status).toBe(403);
    const back = from('http://shop.example:8080', 'cross-site');
    expect((await api.call('POST', '/fn/private', { headers: back, body: 'x' })).status).toBe(403);
  });

  it('is in the namespace that the operator has said, and needs the key where it is not public', async () => {
    const api = await start({ FUNCTION_HOSTS: 'team.example=team/web, own.example=private' }, KEY);
    expect((await api.call('GET', '/', { headers: { host: 'own.example' } })).status).toBe(401);
    expect((await api.call('GET', '/', { headers: { host: 'own.example', authorization } })).status).toBe(302);
    const inTeam = { host: 'team.example', authorization };
    expect((await api.call('GET', '/', { headers: inTeam })).json.error.code).toBe('ARTIFACT_NOT_FOUND');
    await api.deploy('web', { public: true }, { authorization, 'pilum-namespace': 'team' });
    const call = api.call('GET', '/x', { headers: { host: 'team.example' } });
    const answer = await Promise.race([
      call,
      new Promise((resolve) => setTimeout(resolve, 300, 'it waits for its worker')),
    ]);
    expect(answer).toBe('it waits for its worker');
    expect((await api.call('GET', '/', { headers: { ...inTeam, 'pilum-namespace': 'other' } })).status).toBe(403);
  });
});

describe('settings of what stands before the API', () => {
  it.each([
    [{ PUBLIC_URL: 'https://[' }, 'PILUM_PUBLIC_URL'],
    [{ TRUST_PROXY: 'nginx' }, '"nginx" is neither'],
    [{ TRUST_PROXY: '10.0.0.0/33' }, '"10.0.0.0/33" is neither'],
    [{ TRUST_PROXY: '::/129' }, '"::/129" is neither'],
    [{ FUNCTION_HOSTS: 'shop.example/x=web' }, 'is no host'],
    [{ FUNCTION_HOSTS: 'shop.example=Web' }, 'is no artifact'],
    [{ FUNCTION_HOSTS: 'shop.example=a/b/c' }, 'is no artifact'],
    [{ FUNCTION_HOSTS: 'shop.example=web,SHOP.example=other' }, 'twice'],
    [{ FUNCTION_HOSTS: 'example.com=web', PUBLIC_URL: 'https://example.com' }, 'to a function'],
  ])('are refused by name: %j', (settings, message) => {
    expect(() => frontOf(settings)).toThrow(message);
  });
});
