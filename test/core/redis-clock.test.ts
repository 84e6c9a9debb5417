import { connect, type Redis } from '@pilum/core/redis/connect.ts';
import { RedisClock } from '@pilum/core/redis/redis-clock.ts';
import { afterEach, beforeAll, expect, it } from 'vitest';
import { keep } from '../support/kept.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';

let redis: TestRedis;
let client: Redis;
let clock: RedisClock;

const kept = keep();
beforeAll(async () => {
  redis = kept.add(await startRedis());
});

afterEach(() => {
  clock.close();
  client.disconnect();
});

function openClock(): void {
  client = connect({ url: redis.url, name: 'clock' }, () => undefined);
  clock = new RedisClock(client, () => undefined);
}

it('says Redis’s time, never ahead of it', async () => {
  openClock();
  expect(clock.now()).toBeNull();
  clock.open();
  await waitFor(async () => clock.now() !== null, { what: 'a measurement' });
  for (let round = 0; round < 100; round++) {
    const before = clock.now() ?? Number.POSITIVE_INFINITY;
    const [seconds, microseconds] = await client.time();
    expect(before).toBeLessThanOrEqual(Number(seconds) * 1000 + Number(microseconds) / 1000);
    expect(before).toBeGreaterThan(Date.now() - 2000);
  }
});

it('goes on while Redis is away, and is measured again when it is back', async () => {
  openClock();
  clock.open();
  await waitFor(async () => clock.now() !== null, { what: 'a measurement' });
  await redis.kill();
  const away = clock.now();
  expect(away).not.toBeNull();
  await redis.restart();
  const asked = async () => Number(/cmdstat_time:calls=(\d+)/.exec(await client.info('commandstats'))?.[1] ?? 0);
  // This Redis is a new process: what it was asked, it was asked since.
  await waitFor(async () => (await asked()) > 0, { what: 'a measurement after the connect' });
  expect(clock.now()).toBeGreaterThan(away ?? Number.POSITIVE_INFINITY);
});

it('asks once at a time, and nothing after it was closed', async () => {
  openClock();
  clock.open();
  clock.open();
  await waitFor(async () => clock.now() !== null, { what: 'a measurement' });
  const commands = async () => {
    await client.ping(); // travels with the measurements before it
    return Number(/cmdstat_time:calls=(\d+)/.exec(await client.info('commandstats'))?.[1] ?? 0);
  };
  const before = await commands();
  for (let round = 0; round < 10; round++) client.emit('ready');
  clock.close();
  clock.close();
  client.emit('ready');
  expect((await commands()) - before).toBe(1);
});
