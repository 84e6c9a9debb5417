import { freePort } from '../../test/support/free-port.ts';
import { startProcess } from '../support/bench-process.ts';
import { type BenchRedis, startRedis } from '../support/bench-redis.ts';
import { makeDirectory } from '../support/directory.ts';
import type { Scope } from '../support/scope.ts';
import type { Target } from './target.ts';

/** The floors that Pilum is measured against: the modules of bench/floors that make up each, and what they answer. */
const FLOORS = {
  'fastify-echo': { api: 'fastify-echo', worker: null, status: 200 },
  'node-echo': { api: 'node-echo', worker: null, status: 200 },
  'redis-list': { api: 'list-api', worker: 'list-worker', status: 200 },
  'redis-list, no child': { api: 'list-api', worker: 'list-worker-no-child', status: 200 },
  'redis-blob': { api: 'blob-api', worker: 'blob-worker', status: 200 },
  bullmq: { api: 'bullmq-api', worker: 'bullmq-worker', status: 200 },
  'bullmq, async': { api: 'bullmq-async-api', worker: 'bullmq-async-worker', status: 202 },
} as const;
export type FloorName = keyof typeof FLOORS;

export interface Floor extends Target {
  /** Null where it has none. */
  readonly redis: BenchRedis | null;
}

/** Starts a floor with processes of its own for API, worker and Redis. */
export async function startFloor(scope: Scope, name: FloorName): Promise<Floor> {
  const { api, worker, status } = FLOORS[name];
  const redis = worker === null ? null : await startRedis(scope);
  const port = await freePort();
  const env = { REDIS_PATH: redis?.path ?? '', PORT: String(port), DATA: await makeDirectory(scope) };
  const start = (module: string) =>
    startProcess(scope, {
      name: `${module} of ${name}`,
      module: new URL(`../floors/${module}.ts`, import.meta.url),
      env,
    });
  const processes = [];
  if (worker !== null) processes.push(await start(worker));
  processes.push(await start(api));
  const pids = [...processes, redis].flatMap((part) => (part === null ? [] : [part.pid]));
  return { name, url: `http://127.0.0.1:${port}/`, status, pids, redis };
}
