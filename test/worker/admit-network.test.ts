import { requireClosedToFunctions } from '@pilum/core/config/host-network.ts';
import { connect, type Redis } from '@pilum/core/redis/connect.ts';
import { KEYLESS_API } from '@pilum/core/redis/keys.ts';
import { KeylessNotice } from '@pilum/core/store/keyless-apis.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { admitNetwork, wantsHostNetwork } from '../../apps/worker/src/pool/admit-network.ts';
import { fill } from '../conformance/snapshots.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';

const hosted = fill({ runtime: 'process', command: ['sh'], limits: { network: 'host' } });
const closed = fill({ runtime: 'process', command: ['sh'] });

let server: TestRedis;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = connect({ url: server.url, name: 'test' }, () => undefined);
});
afterAll(async () => {
  redis.disconnect();
  await server.close();
});

describe('the network of the machine', () => {
  it('is given to no function while an API asks for no key', async () => {
    expect([wantsHostNetwork(hosted), wantsHostNetwork(closed)]).toEqual([true, false]);
    await admitNetwork(redis, hosted);
    const notice = new KeylessNotice(redis, () => undefined);
    await notice.open();
    await expect(admitNetwork(redis, hosted)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await admitNetwork(redis, closed);
    notice.close();
    expect(await redis.pttl(KEYLESS_API)).toBeGreaterThan(0);
  });

  it('is not given by a worker whose Redis anyone could use', () => {
    const settings = { ALLOW_HOST_NETWORK: true, API_KEY: undefined };
    for (const REDIS_URL of ['redis://127.0.0.1:6379', 'rediss://redis:6379', 'redis://user@redis:6379']) {
      expect(() => requireClosedToFunctions({ ...settings, REDIS_URL }, 'worker')).toThrow('no password');
      expect(() =>
        requireClosedToFunctions({ ...settings, ALLOW_HOST_NETWORK: false, REDIS_URL }, 'worker'),
      ).not.toThrow();
    }
    for (const REDIS_URL of ['unix:///run/redis.sock', 'redis://:secret@redis:6379']) {
      expect(() => requireClosedToFunctions({ ...settings, REDIS_URL }, 'worker')).not.toThrow();
    }
  });
});
