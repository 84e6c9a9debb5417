import { readFileSync } from 'node:fs';
import { connect } from '@pilum/core/redis/connect.ts';
import { SecretKeys } from '@pilum/core/secrets/secret-keys.ts';
import { beforeAll, describe, expect, it } from 'vitest';
import { freePort } from '../support/free-port.ts';
import { keep } from '../support/kept.ts';
import { startPilum, type TestPilum } from '../support/pilum.ts';
import type { TestRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';

const PAGE = readFileSync(new URL('../../docs/operate/redis.md', import.meta.url), 'utf8');

/** Makes the users that docs/operate/redis.md shows; returns the URL of each. */
async function makeUsers(server: TestRedis): Promise<{ api: string; worker: string }> {
  const admin = connect({ url: server.url, name: 'admin' }, () => undefined);
  const port = await freePort();
  await admin.config('SET', 'port', String(port));
  const urls = new Map<string, string>();
  for (const [, user = '', rights = ''] of PAGE.matchAll(/^ {4}ACL SETUSER (pilum-\w+) (.+)$/gm)) {
    await admin.call('ACL', 'SETUSER', user, ...rights.split(' '));
    urls.set(user, `redis://${user}:${/>(\S+)/.exec(rights)?.[1]}@127.0.0.1:${port}`);
  }
  admin.disconnect();
  return { api: urls.get('pilum-api') ?? '', worker: urls.get('pilum-worker') ?? '' };
}

describe('API and worker with a user of Redis each', () => {
  let pilum: TestPilum;
  let users: { api: string; worker: string };
  const kept = keep();
  beforeAll(async () => {
    pilum = kept.add(
      await startPilum({
        // With an append-only file nobody asks for its configuration.
        appendonly: true,
        env: { PILUM_SECRETS_KEY: SecretKeys.generate(), PILUM_DEPLOY_CHECK: 'true', PILUM_LOG_LEVEL: 'info' },
        usersOf: async (server) => {
          users = await makeUsers(server);
          return users;
        },
      }),
    );
  });

  it('do all that they do', async () => {
    const put = (value: string) => pilum.call('PUT', '/v1/secrets/a', { body: { value } });
    expect((await put('first')).status).toBe(201);
    const inline = `export default async function* (e, c) { console.log('at'); c.progress(1); if (e.fail) throw new Error('no'); yield process.env.A; yield new Uint8Array(300_000); }`;
    await pilum.deploy('f', {
      code: { inline },
      secrets: { A: { name: 'a' } },
      retry: { attempts: 2, backoff: { delayMs: 10 } },
    });
    expect((await put('second')).status).toBe(200);
    expect((await pilum.invoke('f', {})).status).toBe(200);
    expect((await pilum.invoke('f', { fail: true })).body).toMatchObject({ status: 'failed', attempt: 2 });
    const stream = await pilum.call('POST', '/v1/artifacts/f/stream', { body: {} });
    expect(stream.text).toContain('second');
    const { json } = await pilum.call('POST', '/v1/artifacts/f/invoke?mode=async&delay=1s', {
      body: {},
      headers: { 'idempotency-key': 'k' },
    });
    expect((await pilum.call('GET', `/v1/tasks/${json.taskId}?wait=20s`)).json.status).toBe('completed');
    const waiting = await pilum.call('POST', '/v1/artifacts/f/invoke?mode=async&delay=1h', { body: {} });
    expect((await pilum.call('DELETE', `/v1/tasks/${waiting.json.taskId}`)).status).toBe(200);
    for (const path of [
      '/v1/tasks?artifact=f',
      '/metrics',
      '/v1/workers',
      '/v1/instances',
      '/v1/secrets',
      '/admin/queues/api/queues?page=1',
      `/v1/tasks/${json.taskId}/logs`,
    ]) {
      expect((await pilum.call('GET', path)).status, path).toBe(200);
    }
    expect(
      (await pilum.call('POST', '/v1/tasks/retry', { body: { artifact: 'f', exhausted: true } })).status,
    ).toBeLessThan(300);
    await pilum.call('PATCH', '/v1/artifacts/f/settings', { body: { maxConcurrency: 2 } });
    await pilum.call('PUT', '/v1/artifacts/f/aliases/live', { body: { version: 1 } });
    expect((await pilum.call('DELETE', '/v1/artifacts/f')).status).toBe(200);
    expect((await pilum.call('DELETE', '/v1/secrets/a')).status).toBe(204);
    // Rounds of the housekeeper, and what is removed after the artifact.
    const admin = connect({ url: pilum.redis.url, name: 'admin' }, () => undefined);
    await waitFor(async () => (await admin.keys('*{pilum:default:f}:task*')).length === 0, {
      what: 'the end of its tasks',
    });
    const refused = (await admin.call('ACL', 'LOG')) as unknown[];
    admin.disconnect();
    expect(JSON.stringify(refused)).toBe('[]');
    for (const part of [pilum.api, ...pilum.workers]) expect(part.output()).not.toContain('NOPERM');
  });

  it('cannot do what is the other’s, nor an administrator’s', async () => {
    await pilum.call('PUT', '/v1/secrets/b', { body: { value: 'a value' } });
    const as = (url: string) => {
      const redis = connect({ url, name: 'test' }, () => undefined);
      kept.add(redis);
      return redis;
    };
    const [api, worker] = [as(users.api), as(users.worker)];
    const boxes = '{pilum-secrets:default}:boxes';
    const records = '{pilum-secrets:default}:records';
    expect(Object.keys(await worker.hgetall(boxes))).toHaveLength(1);
    const refused = [
      () => api.hgetall(boxes),
      () => api.call('DUMP', boxes),
      () => api.eval(`return redis.call('HGETALL', KEYS[1])`, 1, boxes),
      () => worker.hset(boxes, 'b@1', 'x'),
      () => worker.hdel(records, 'b'),
      () => worker.eval(`return redis.call('DEL', KEYS[1])`, 1, records),
      ...[api, worker].flatMap((redis) => [
        () => redis.keys('*'),
        () => redis.flushall(),
        () => redis.config('GET', '*'),
        () => redis.call('ACL', 'LIST'),
        () => redis.call('MONITOR'),
        () => redis.get('of others'),
        () => redis.publish('others', 'x'),
      ]),
    ];
    for (const attempt of refused) await expect(attempt(), attempt.toString()).rejects.toThrow('NOPERM');
  });
});
