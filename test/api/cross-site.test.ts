import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { startApi, type TestApi } from './support/api.ts';
import { TestWorker } from './support/worker.ts';

const KEY = 'a-key-of-16-chars-or-more';
const APP = 'https://app.example';
const authorization = `Bearer ${KEY}`;

let redis: TestRedis;
let local: TestApi;
let keyed: TestApi;
let worker: TestWorker;
const called: string[] = [];
beforeAll(async () => {
  redis = await startRedis();
  local = await startApi({ url: redis.url });
  keyed = await startApi({ url: redis.url, host: '0.0.0.0', key: KEY });
  worker = new TestWorker(redis.url);
  await worker.report();
  await local.deploy('closed');
  await local.deploy('open', { public: true });
  await local.deploy('shared', { cors: { origins: [APP] } });
  await local.deploy('session', { cors: { origins: [APP], credentials: true }, public: true });
  await local.deploy('anyones', { cors: { origins: ['*'] }, public: true });
  await local.deploy('boxed', { cors: { origins: ['null'] } });
  for (const id of ['closed', 'open', 'shared', 'session', 'anyones', 'boxed']) {
    worker.serve(id, (ticket) => {
      called.push(`${ticket.http?.method} ${id}`);
      return { contentType: 'text/plain', body: id };
    });
  }
});
afterAll(async () => {
  await worker.close();
  await keyed.close();
  await local.close();
  await redis.close();
});

const fetched = (site: string, mode = 'no-cors', dest = 'image') => ({
  'sec-fetch-site': site,
  'sec-fetch-mode': mode,
  'sec-fetch-dest': dest,
});
const opened = (site: string) => fetched(site, 'navigate', 'document');
const scripted = (origin: string) => ({ origin, ...fetched('cross-site', 'cors', 'empty') });
const preflight = (origin: string) => ({
  ...scripted(origin),
  'access-control-request-method': 'DELETE',
  'access-control-request-headers': 'authorization,x-own',
});

describe('a request that a page of another site has a browser make', () => {
  it.each([
    ['an image', 'GET', fetched('cross-site')],
    ['a script of another port', 'GET', fetched('same-site', 'no-cors', 'script')],
    ['a frame', 'GET', fetched('cross-site', 'navigate', 'iframe')],
    ['an object', 'GET', fetched('cross-site', 'navigate', 'object')],
    ['a link or a window', 'GET', opened('cross-site')],
    ['a form', 'POST', { origin: 'https://evil.example', ...opened('cross-site') }],
    ['a form of a sandbox', 'POST', { origin: 'null', ...opened('cross-site') }],
    ['fetch', 'GET', scripted('https://evil.example')],
    ['fetch of an older browser', 'GET', { origin: 'https://evil.example' }],
    ['a beacon', 'POST', { origin: 'https://evil.example', ...fetched('cross-site', 'no-cors', 'empty') }],
    ['a preflight', 'OPTIONS', preflight('https://evil.example')],
    ['what nobody knows', 'GET', fetched('sideways')],
    ['what was said twice', 'GET', fetched('same-origin, cross-site')],
  ])('is refused, whatever it is: %s', async (_, method, headers) => {
    called.length = 0;
    for (const path of ['/fn/closed/pay?to=evil', '/fn/shared', '/fn/nobody', '/fn/closed@7']) {
      const answer = await local.call(method, path, { headers });
      expect([path, answer.status, answer.json.error.code]).toEqual([path, 403, 'FORBIDDEN']);
      expect(answer.headers['access-control-allow-origin']).toBeUndefined();
      // With a key it is no other, which browsers may keep.
      const withKey = await keyed.call(method, path, { headers: { authorization, ...headers } });
      expect([path, withKey.status]).toEqual([path, 403]);
    }
    expect(called).toEqual([]);
  });

  it('does not reach the API either, but may open what only shows something', async () => {
    for (const path of ['/v1/artifacts', '/docs/', '/metrics', '/admin/queues', '/nowhere']) {
      expect([path, (await local.call('GET', path, { headers: fetched('cross-site') })).status]).toEqual([path, 403]);
      const answer = await local.call('GET', path, { headers: opened('cross-site') });
      expect([path, answer.status]).toEqual([path, path === '/nowhere' ? 404 : 200]);
    }
    const headers = opened('cross-site');
    expect((await local.call('DELETE', '/v1/artifacts/closed', { headers })).status).toBe(403);
    expect((await local.call('POST', '/v1/artifacts/closed/invoke', { headers, body: {} })).status).toBe(403);
  });

  it.each([
    ['a page of ours', fetched('same-origin')],
    [
      'a page of ours, with its origin',
      { origin: 'http://127.0.0.1:8080', ...fetched('same-origin', 'cors', 'empty') },
    ],
    ['an address that was typed', opened('none')],
    ['a page of ours that was followed', opened('same-origin')],
    ['a program', {}],
  ])('is none: %s', async (_, headers) => {
    expect((await local.call('GET', '/fn/closed', { headers })).text).toBe('closed');
  });

  it('may be a link to a function that is public, and nothing more', async () => {
    expect((await local.call('GET', '/fn/open', { headers: opened('cross-site') })).text).toBe('open');
    expect((await keyed.call('GET', '/fn/open', { headers: opened('cross-site') })).text).toBe('open');
    for (const [method, headers] of [
      ['GET', fetched('cross-site')],
      ['GET', fetched('cross-site', 'navigate', 'iframe')],
      ['POST', { origin: APP, ...opened('cross-site') }],
      ['DELETE', opened('cross-site')],
    ] as const) {
      expect((await local.call(method, '/fn/open', { headers })).status).toBe(403);
    }
  });
});

describe('a page of an origin that the spec of a function allows', () => {
  it('may call it and read what it answers', async () => {
    const answer = await local.call('PUT', '/fn/shared', { headers: scripted(APP), body: 'x' });
    expect([answer.status, answer.text]).toEqual([200, 'shared']);
    expect(answer.headers).toMatchObject({
      'access-control-allow-origin': APP,
      'access-control-expose-headers': '*',
      vary: 'Origin',
    });
    expect(answer.headers).not.toHaveProperty('access-control-allow-credentials');
  });

  it('is answered before it sends what needs asking, without a key and without a call', async () => {
    called.length = 0;
    const answer = await keyed.call('OPTIONS', '/fn/shared/deep?x=1', { headers: preflight(APP) });
    expect([answer.status, answer.text]).toEqual([204, '']);
    expect(answer.headers).toMatchObject({
      'access-control-allow-origin': APP,
      'access-control-allow-methods': 'DELETE',
      'access-control-allow-headers': 'authorization,x-own',
      'access-control-max-age': '600',
      vary: 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers',
    });
    expect(called).toEqual([]);
  });

  it('needs the key all the same, and can read that it is missing', async () => {
    const answer = await keyed.call('GET', '/fn/shared', { headers: scripted(APP) });
    expect([answer.status, answer.json.error.code]).toEqual([401, 'UNAUTHORIZED']);
    expect(answer.headers['access-control-allow-origin']).toBe(APP);
    const withKey = await keyed.call('GET', '/fn/shared', { headers: { ...scripted(APP), authorization } });
    expect(withKey.text).toBe('shared');
  });

  it('may be any, one in a sandbox, or one that has cookies sent along', async () => {
    const anyone = await local.call('GET', '/fn/anyones', { headers: scripted('https://evil.example') });
    expect([anyone.text, anyone.headers['access-control-allow-origin']]).toEqual(['anyones', '*']);
    expect((await local.call('GET', '/fn/anyones', { headers: fetched('cross-site') })).text).toBe('anyones');
    const boxed = await local.call('GET', '/fn/boxed', { headers: scripted('null') });
    expect([boxed.text, boxed.headers['access-control-allow-origin']]).toEqual(['boxed', 'null']);
    const session = await local.call('GET', '/fn/session', { headers: scripted(APP) });
    expect(session.headers).toMatchObject({
      'access-control-allow-origin': APP,
      'access-control-allow-credentials': 'true',
    });
  });

  it('is no other that looks like it', async () => {
    for (const origin of [
      'http://app.example',
      'https://app.example:8443',
      'https://app.example.evil',
      'null',
      `${APP}/`,
    ]) {
      expect([origin, (await local.call('GET', '/fn/shared', { headers: scripted(origin) })).status]).toEqual([
        origin,
        403,
      ]);
    }
  });
});

describe('a public function', () => {
  it('is called without a key, with one, and with what is its own', async () => {
    const some: Record<string, string>[] = [{}, { authorization }, { authorization: 'Basic b3duOm93bg==' }];
    for (const headers of some) {
      expect((await keyed.call('POST', '/fn/open', { headers, body: 'x' })).text).toBe('open');
    }
  });

  it('is all that is public of it', async () => {
    for (const [path, headers] of [
      ['/fn/closed', {}],
      ['/fn/nobody', {}],
      ['/fn/open', { 'pilum-timeout': '24h' }],
      ['/fn/open', { 'pilum-priority': '0' }],
      ['/fn/open', { 'pilum-namespace': 'other' }],
      ['/v1/artifacts/open', {}],
      ['/v1/artifacts/open/versions/1', {}],
    ] as const) {
      expect([path, (await keyed.call('GET', path, { headers })).status]).toEqual([path, 401]);
    }
    expect((await keyed.call('POST', '/v1/artifacts/open/invoke', { body: {} })).status).toBe(401);
  });
});

describe('the origins of a spec', () => {
  it.each([
    [{ origins: [] }, '/body/cors/origins'],
    [{ origins: ['app.example'] }, '/body/cors/origins/0'],
    [{ origins: ['https://app.example/'] }, '/body/cors/origins/0'],
    [{ origins: ['https://*.example', 'https://App.example'] }, '/body/cors/origins/'],
    [{ origins: ['https://app.example:443'] }, '/body/cors/origins/0'],
    [{ origins: ['*'], credentials: true }, '/body/cors/credentials'],
    [{}, '/body/cors'],
  ])('are refused where no browser would say them: %j', async (cors, where) => {
    const body = { runtime: 'process', code: { inline: '1' }, cors };
    const answer = await local.call('PUT', '/v1/artifacts/wrong', { body });
    expect([answer.status, JSON.stringify(answer.json.error.details)]).toEqual([400, expect.stringContaining(where)]);
  });
});
