import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startRedis } from '../../test/support/redis.ts';
import type { Target } from './load.ts';
import { type BenchPart, freePort, startPart } from './part.ts';

const floor = (name: string) => new URL(`../floors/${name}.ts`, import.meta.url);
const app = (name: string) => new URL(`../../apps/${name}/src/main.ts`, import.meta.url);

/** Starts Pilum and the floors, each with a Redis of its own, and deploys the function that is measured. */
export async function startTargets(): Promise<{ targets: Target[]; stop: () => Promise<void> }> {
  const parts: BenchPart[] = [];
  const directory = await mkdtemp(join(tmpdir(), 'pilum-bench-'));
  await chmod(directory, 0o711); // so that sandboxes of a root worker find their code in it
  const servers = await Promise.all([1, 2, 3].map(() => startRedis({ appendonly: true })));
  const [ofPilum, ofList, ofBullmq] = servers;
  const ports = [await freePort(), await freePort(), await freePort(), await freePort()] as const;
  const stop = async () => {
    await Promise.all(parts.map((part) => part.stop()));
    await Promise.all(servers.map((server) => server.close()));
    await rm(directory, { recursive: true, force: true });
  };
  try {
    const start = async (module: URL, env: Record<string, string>) => {
      parts.push(await startPart(module, env));
    };
    const environment = {
      PILUM_REDIS_URL: ofPilum?.url ?? '',
      PILUM_PORT: String(ports[0]),
      PILUM_DATA: directory,
      PILUM_LOG_LEVEL: 'warn',
    };
    await start(app('api'), environment);
    await start(app('worker'), environment);
    await start(floor('fastify-echo'), { PORT: String(ports[1]) });
    await start(floor('list-worker'), { REDIS_PATH: ofList?.path ?? '' });
    await start(floor('list-api'), { REDIS_PATH: ofList?.path ?? '', PORT: String(ports[2]) });
    await start(floor('bullmq-worker'), { REDIS_PATH: ofBullmq?.path ?? '' });
    await start(floor('bullmq-api'), { REDIS_PATH: ofBullmq?.path ?? '', PORT: String(ports[3]) });
    await deployEcho(ports[0]);
  } catch (error) {
    await stop();
    throw error;
  }
  const at = (port: number, path = '/') => new URL(`http://127.0.0.1:${port}${path}`);
  return {
    targets: [
      { name: 'pilum', url: at(ports[0], '/v1/artifacts/echo/invoke') },
      { name: 'fastify-echo', url: at(ports[1]) },
      { name: 'redis-list', url: at(ports[2]) },
      { name: 'bullmq', url: at(ports[3]) },
    ],
    stop,
  };
}

async function deployEcho(port: number): Promise<void> {
  const answer = await fetch(`http://127.0.0.1:${port}/v1/artifacts/echo`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ runtime: 'process', code: { inline: 'export default (event) => event' } }),
  });
  if (!answer.ok) throw new Error(`deploy: ${answer.status} ${await answer.text()}`);
}
