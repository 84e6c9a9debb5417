import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { pingRedis } from '../../apps/up/src/redis-ping.ts';
import { waitFor } from '../../test/support/wait-for.ts';
import { makeDirectory } from './directory.ts';
import type { Scope } from './scope.ts';

/** Ends the server when standard input does: also where the bench was killed and could not say so. */
const LEASH = '"$@" & read _; kill $!; wait $!';

/** A Redis of its own for one side of a measurement: append-only file, fsync every second, on a Unix socket. */
export interface BenchRedis {
  /** Path of the socket. */
  readonly path: string;
  /** URL for Pilum's configuration. */
  readonly url: string;
  /** Process id of the parent of the server. */
  readonly pid: number;
}

export async function startRedis(scope: Scope): Promise<BenchRedis> {
  const directory = await makeDirectory(scope);
  const path = join(directory, 'redis.sock');
  const settings = {
    port: '0',
    unixsocket: path,
    unixsocketperm: '700',
    dir: directory,
    save: '',
    appendonly: 'yes',
    appendfsync: 'everysec',
    'maxmemory-policy': 'noeviction',
    loglevel: 'warning',
  };
  const options = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
  const child = spawn('/bin/sh', ['-c', LEASH, 'sh', 'redis-server', ...options], {
    stdio: ['pipe', 'ignore', 2],
    detached: true,
  });
  const ended = once(child, 'exit');
  await scope.add('redis', async () => {
    child.stdin?.end();
    await ended;
  });
  await waitFor(async () => (await pingRedis(path, 1000)) === 'ready', { what: 'a Redis that answers', everyMs: 5 });
  return { path, url: `unix://${path}`, pid: child.pid ?? 0 };
}
