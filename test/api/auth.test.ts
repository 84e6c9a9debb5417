import type { AddressInfo } from 'node:net';
import { connect } from 'node:net';
import { beforeAll, describe, expect, it } from 'vitest';
import { requireNeed } from '../../apps/api/src/auth/needs.ts';
import { inNamespace } from '../../apps/api/src/auth/principal.ts';
import { keep } from '../support/kept.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { startApi, type TestApi } from './support/api.ts';

const KEY = 'a-key-of-16-chars-or-more';
let redis: TestRedis;
let local: TestApi;
let keyed: TestApi;
const kept = keep();
beforeAll(async () => {
  redis = kept.add(await startRedis());
  local = kept.add(await startApi({ url: redis.url }));
  keyed = kept.add(await startApi({ url: redis.url, host: '0.0.0.0', key: KEY }));
});

describe('on loopback', () => {
  const withHost = (host: string, headers = {}) =>
    local.call('GET', '/v1/artifacts', { headers: { host, ...headers } });

  it.each(['127.0.0.1:8080', 'localhost:8080', '[::1]:8080', 'LOCALHOST:8080'])('answers to %s', async (host) => {
    expect((await withHost(host)).status).toBe(200);
  });

  it.each([
    'evil.example',
    'evil.example:8080',
    '127.0.0.1',
    '127.0.0.1:80',
    'localhost.evil.example:8080',
    '10.0.0.1:8080',
    '',
  ])('refuses the host %j: a page may have pointed its own name here', async (host) => {
    const answer = await withHost(host);
    expect([answer.status, answer.json.error.code]).toEqual([403, 'FORBIDDEN']);
    expect(answer.json.error.message).toContain('Host');
  });

  it.each([
    'http://evil.example',
    'null',
    'http://127.0.0.1:3000',
    'https://127.0.0.1:8080',
    'http://127.0.0.1:8080.evil.example',
  ])('refuses the origin %s', async (origin) => {
    const answer = await local.call('PUT', '/v1/artifacts/csrf', {
      body: { runtime: 'process', code: { inline: '1' } },
      headers: { origin },
    });
    expect([answer.status, answer.json.error.code]).toEqual([403, 'FORBIDDEN']);
    expect((await local.call('GET', '/v1/artifacts/csrf')).status).toBe(404);
  });

  it('lets its own pages call', async () => {
    for (const origin of ['http://127.0.0.1:8080', 'http://localhost:8080']) {
      expect((await withHost('127.0.0.1:8080', { origin })).status).toBe(200);
    }
  });

  it('knows its port from the socket', async () => {
    const api = await startApi({ url: redis.url });
    await api.app.listen({ host: '127.0.0.1', port: 0 });
    const { port } = api.app.server.address() as AddressInfo;
    const raw = (head: string) =>
      new Promise<string>((resolve, reject) => {
        const socket = connect(port, '127.0.0.1', () =>
          socket.write(`GET /v1/artifacts HTTP/1.1\r\n${head}connection: close\r\n\r\n`),
        );
        let text = '';
        socket.on('data', (chunk) => {
          text += chunk;
        });
        socket.on('close', () => resolve(text.slice(9, 12)));
        socket.on('error', reject);
      });
    expect(await raw(`host: 127.0.0.1:${port}\r\n`)).toBe('200');
    expect(await raw('host: 127.0.0.1:8080\r\n')).toBe('403');
    expect(await raw('host: evil.example\r\n')).toBe('403');
    expect(await raw('')).toBe('400');
    await api.close();
  });

  it('guards every route but the health checks, and the pages too', async () => {
    for (const path of [
      '/metrics',
      '/openapi.json',
      '/docs/',
      '/admin/queues',
      '/admin/queues/api/queues',
      '/v1/tasks',
      '/nowhere',
    ]) {
      const answer = await local.call('GET', path, { headers: { host: 'evil.example' } });
      expect([path, answer.status, answer.json?.error?.code]).toEqual([path, 403, 'FORBIDDEN']);
    }
    for (const path of ['/livez', '/readyz']) {
      expect([200, 503]).toContain((await local.call('GET', path, { headers: { host: 'evil.example' } })).status);
    }
  });
});

describe('with a key', () => {
  const call = (authorization?: string, headers = {}, path = '/v1/artifacts') =>
    keyed.call('GET', path, {
      headers: { host: 'pilum.example', ...headers, ...(authorization === undefined ? {} : { authorization }) },
    });
  const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;

  it.each([`Bearer ${KEY}`, `bearer ${KEY}`, `Bearer  ${KEY} `, basic(`:${KEY}`), basic(`anyone:${KEY}`)])(
    'lets %s in',
    async (authorization) => {
      expect((await call(authorization)).status).toBe(200);
    },
  );

  it.each([
    undefined,
    '',
    'Bearer',
    'Bearer ',
    'Bearer wrong',
    `Bearer ${KEY}x`,
    `Bearer ${KEY.slice(1)}`,
    `Token ${KEY}`,
    KEY,
    basic(KEY),
    basic(`${KEY}:`),
    basic(':'),
  ])('refuses %j', async (authorization) => {
    const answer = await call(authorization);
    expect([answer.status, answer.json.error.code]).toEqual([401, 'UNAUTHORIZED']);
    expect(answer.headers['www-authenticate']).toMatch(/Bearer.*Basic/);
  });

  it('asks for it before anything else, and says nothing about what there is', async () => {
    for (const path of [
      '/metrics',
      '/openapi.json',
      '/docs/',
      '/docs/static/swagger-ui.css',
      '/admin/queues',
      '/admin/queues/api/queues',
      '/admin/queues/static/favicon-32x32.png',
      '/nowhere',
      '/fn/a',
    ]) {
      const answer = await call(undefined, {}, path);
      expect([path, answer.status, answer.json?.error?.code]).toEqual([path, 401, 'UNAUTHORIZED']);
    }
    const body = await keyed.call('POST', '/v1/artifacts/a/invoke', {
      body: '{',
      headers: { 'content-type': 'application/json' },
    });
    expect(body.status).toBe(401);
    for (const path of ['/livez', '/readyz']) expect([200, 503]).toContain((await call(undefined, {}, path)).status);
  });

  it('refuses pages of other sites that would use a key the browser keeps', async () => {
    const authorization = `Bearer ${KEY}`;
    expect((await call(authorization, { origin: 'https://pilum.example' })).status).toBe(200);
    for (const origin of ['https://evil.example', 'null', 'https://pilum.example.evil.example']) {
      expect((await call(authorization, { origin })).json.error.code).toBe('FORBIDDEN');
    }
  });
});

describe('a namespace', () => {
  it('is named by an admin, and things of one are not seen in another', async () => {
    const other = { 'pilum-namespace': 'other' };
    await local.deploy('mine');
    await local.deploy('theirs', {}, other);
    const idsIn = async (headers: Record<string, string>) =>
      (await local.call('GET', '/v1/artifacts', { headers })).json.artifacts.map(
        (artifact: { id: string }) => artifact.id,
      );
    expect(await idsIn({})).toEqual(['mine']);
    expect(await idsIn(other)).toEqual(['theirs']);
    expect((await local.call('POST', '/v1/artifacts/theirs/invoke')).json.error.code).toBe('ARTIFACT_NOT_FOUND');
    for (const name of ['Upper', '', 'a/b', 'a b', '{x}', 'a'.repeat(64)]) {
      const answer = await local.call('GET', '/v1/artifacts', { headers: { 'pilum-namespace': name } });
      expect([answer.status, answer.json.error.code]).toEqual([400, 'VALIDATION_FAILED']);
    }
  });

  it('is fixed for everyone else', () => {
    const member = { namespace: 'team', role: 'member', keyId: 'k', hasKey: false } as const;
    expect(inNamespace(member, undefined)).toBe(member);
    expect(inNamespace(member, 'team')).toBe(member);
    expect(() => inNamespace(member, 'other')).toThrow(expect.objectContaining({ code: 'FORBIDDEN' }));
    expect(inNamespace({ ...member, role: 'admin' }, 'other')).toEqual({
      namespace: 'other',
      role: 'admin',
      keyId: 'k',
      hasKey: false,
    });
  });
});

describe('the right that a route needs', () => {
  const as = (role: 'admin' | 'member' | 'public') => ({ namespace: 'team', role, keyId: 'k', hasKey: false }) as const;
  const refused = expect.objectContaining({ code: 'FORBIDDEN' });

  it('is an admin’s where the route reaches beyond one namespace', () => {
    for (const need of ['workers:write', 'metrics:read', 'queues:read'] as const) {
      expect(() => requireNeed(as('admin'), need)).not.toThrow();
      expect(() => requireNeed(as('member'), need)).toThrow(refused);
      expect(() => requireNeed(as('public'), need)).toThrow(refused);
    }
  });

  it('is a member’s within its namespace, and the public may only call', () => {
    for (const need of ['artifacts:write', 'tasks:read', 'instances:write', 'docs:read'] as const) {
      expect(() => requireNeed(as('member'), need)).not.toThrow();
      expect(() => requireNeed(as('public'), need)).toThrow(refused);
    }
    expect(() => requireNeed(as('public'), 'functions:call')).not.toThrow();
  });

  it('is nobody’s where the route does not say which', () => {
    expect(() => requireNeed(as('admin'), undefined)).toThrow(refused);
  });
});
