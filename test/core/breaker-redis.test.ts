import { setTimeout as sleep } from 'node:timers/promises';
import { BreakerRedis } from '@pilum/core/redis/breaker-redis.ts';
import { defineScript } from '@pilum/core/redis/script.ts';
import { expect, it, onTestFinished } from 'vitest';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { waitFor } from '../support/wait-for.ts';

const GIVE_UP_MS = 1000;
const isUnavailable = expect.objectContaining({ code: 'REDIS_UNAVAILABLE' });
const append = defineScript({ keys: ['list'], args: ['item'], lua: `return redis.call('RPUSH', list, item)` });

async function open(options = { appendonly: true }): Promise<{ server: TestRedis; redis: BreakerRedis }> {
  const server = await startRedis(options);
  const redis = new BreakerRedis({ url: server.url, name: 'breaker', giveUpAfterMs: GIVE_UP_MS }, () => undefined);
  onTestFinished(async () => {
    redis.disconnect();
    if (server.pid !== undefined) process.kill(server.pid, 'SIGCONT');
    await server.close();
  });
  await redis.ping();
  return { server, redis };
}

/** Takes Redis away, and gives what brings it back. */
const ways = {
  killed: async (server: TestRedis) => {
    await server.kill();
    return async () => await server.restart();
  },
  stopped: async (server: TestRedis) => {
    const pid = server.pid ?? 0;
    process.kill(pid, 'SIGSTOP');
    return async () => {
      process.kill(pid, 'SIGCONT');
    };
  },
};

it.each(Object.entries(ways))('a Redis that is %s is waited for, and then no longer', async (_name, takeAway) => {
  const { server, redis } = await open();
  const bringBack = await takeAway(server);
  const since = performance.now();
  // More than one turn's worth, so that some stand behind others.
  const waiting: Promise<unknown>[] = [];
  for (let round = 0; round < 20; round++) {
    waiting.push(append.run(redis, { list: 'list', item: `waiting-${round}` }).catch((error: unknown) => error));
    await sleep(GIVE_UP_MS / 50);
  }
  for (const failed of await Promise.all(waiting)) expect(failed).toEqual(isUnavailable);
  expect(performance.now() - since).toBeGreaterThan(GIVE_UP_MS / 2);
  expect(redis.isAway).toBe(true);
  // Now nothing waits, and nothing is kept.
  for (let round = 0; round < 2000; round++) {
    await expect(append.run(redis, { list: 'list', item: `refused-${round}` })).rejects.toEqual(isUnavailable);
  }
  expect(redis.isAway).toBe(true);
  expect((redis as unknown as { offlineQueue: { length: number } }).offlineQueue.length).toBe(0);

  await bringBack();
  await waitFor(() => !redis.isAway, { what: 'the breaker to close' });
  await append.run(redis, { list: 'list', item: 'back' });
  // What a silent Redis had been sent before it was given up may be carried out; what was refused is not.
  expect((await redis.lrange('list', 0, -1)).filter((item) => item.startsWith('refused'))).toEqual([]);
});

it('what has failed while Redis was gone is not sent when it is back', async () => {
  const { server, redis } = await open();
  const inFlight = redis.rpush('list', 'in flight');
  await inFlight;
  await server.kill();
  const failed = append.run(redis, { list: 'list', item: 'ghost' });
  await expect(failed).rejects.toEqual(isUnavailable);
  await server.restart();
  await waitFor(() => !redis.isAway, { what: 'the breaker to close' });
  expect(await redis.lrange('list', 0, -1)).toEqual(['in flight']);
});

it('what was in flight when the connection broke is not kept for a Redis that stays silent', async () => {
  const { server, redis } = await open();
  process.kill(server.pid ?? 0, 'SIGSTOP');
  const failed = append.run(redis, { list: 'list', item: 'sent twice' }).catch((error: unknown) => error);
  await sleep(50);
  redis.stream.destroy(); // the next connection is taken, and silent as well
  expect(await failed).toEqual(isUnavailable);
  process.kill(server.pid ?? 0, 'SIGCONT');
  await waitFor(() => !redis.isAway && redis.status === 'ready', { what: 'the breaker to close' });
  expect((await redis.lrange('list', 0, -1)).length).toBeLessThanOrEqual(1);
});

it('a short absence fails nothing', async () => {
  const server = await startRedis({ appendonly: true });
  const redis = new BreakerRedis({ url: server.url, name: 'patient', giveUpAfterMs: 20_000 }, () => undefined);
  onTestFinished(async () => {
    redis.disconnect();
    await server.close();
  });
  await redis.ping();
  await server.kill();
  const waiting = Array.from({ length: 10 }, (_, index) => append.run(redis, { list: 'list', item: `item-${index}` }));
  await server.restart();
  await Promise.all(waiting);
  expect(await redis.llen('list')).toBe(10);
});

it('a process that was held up itself does not blame Redis', async () => {
  const { redis } = await open();
  const until = performance.now() + 3 * GIVE_UP_MS;
  while (performance.now() < until); // nothing else runs meanwhile
  await redis.ping();
  expect(redis.isAway).toBe(false);
});
