import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type Redis } from '@pilum/core/redis/connect.ts';
import { Subscriber } from '@pilum/core/redis/subscriber.ts';
import type { WorkerInfo } from '@pilum/core/schemas/worker.ts';
import { TaskStore } from '@pilum/core/store/task-store.ts';
import { WorkerRegistry } from '@pilum/core/store/worker-registry.ts';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { Heartbeat } from '../../apps/worker/src/registration/heartbeat.ts';
import { RunningTasks } from '../../apps/worker/src/tasks/running-tasks.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { ticketFor } from '../support/tasks.ts';

const logger = pino({ level: 'silent' });
const AWAY_MS = 7000;

async function openRedis(): Promise<{ server: TestRedis; redis: Redis }> {
  const server = await startRedis();
  const redis = connect({ url: server.url, name: 'test' }, () => undefined);
  onTestFinished(async () => {
    redis.disconnect();
    await server.close();
  });
  return { server, redis };
}

/** Stops Redis for a while, and says how often it was then sent a command that had waited. */
async function commandsDuring(server: TestRedis, redis: Redis, command: string): Promise<number> {
  const count = async () =>
    Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(await redis.info('commandstats'))?.[1] ?? 0);
  const before = await count();
  process.kill(server.pid ?? 0, 'SIGSTOP');
  await sleep(AWAY_MS);
  process.kill(server.pid ?? 0, 'SIGCONT');
  return (await count()) - before;
}

test('reports of a worker do not pile up while Redis is away', async () => {
  const { server, redis } = await openRedis();
  const worker = { workerId: 'w' } as WorkerInfo;
  const heartbeat = new Heartbeat(new WorkerRegistry(redis), async () => ({ worker, instances: [] }), logger);
  await heartbeat.open();
  expect(await commandsDuring(server, redis, 'zadd')).toBeLessThanOrEqual(2);
  await heartbeat.close();
});

test('a worker leaves the list within a limit also where Redis is away', async () => {
  const { server, redis } = await openRedis();
  const worker = { workerId: 'w' } as WorkerInfo;
  const heartbeat = new Heartbeat(new WorkerRegistry(redis), async () => ({ worker, instances: [] }), logger);
  await heartbeat.open();
  process.kill(server.pid ?? 0, 'SIGSTOP');
  const since = performance.now();
  await heartbeat.close();
  expect(performance.now() - since).toBeLessThan(60_000);
  process.kill(server.pid ?? 0, 'SIGCONT');
});

test('looks at running tasks do not pile up while Redis is away', async () => {
  const { server, redis } = await openRedis();
  const subscriberRedis = connect({ url: server.url, name: 'messages' }, () => undefined);
  const subscriber = new Subscriber(subscriberRedis, () => undefined);
  const running = new RunningTasks(new TaskStore(redis, { ageS: 100, count: 100, framesAgeS: 100 }), logger);
  await running.open(subscriber);
  const { namespace, taskId } = ticketFor('away');
  running.begin({ namespace, taskId });
  expect(await commandsDuring(server, redis, 'get')).toBeLessThanOrEqual(2);
  running.close();
  subscriber.close();
});
