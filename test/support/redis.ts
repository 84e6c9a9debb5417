import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect as connectSocket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { waitFor } from './wait-for.ts';

/** A throwaway Redis on a Unix socket. */
export interface TestRedis {
  readonly url: string;
  readonly path: string;
  /** SIGKILL; what was not synced is lost. */
  kill(): Promise<void>;
  /** Starts it again on the same data. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

/** Starts a real redis-server that holds nothing. */
export async function startRedis(options: { appendonly?: boolean } = {}): Promise<TestRedis> {
  const directory = await mkdtemp(join(tmpdir(), 'pilum-redis-'));
  const path = join(directory, 'redis.sock');
  let child: ChildProcess;
  const start = async () => {
    const appendonly = options.appendonly ? 'yes' : 'no';
    child = spawn(
      'redis-server',
      ['--port', '0', '--unixsocket', path, '--dir', directory, '--save', '', '--appendonly', appendonly],
      { stdio: 'ignore' },
    );
    await waitFor(() => answers(path), { what: 'redis-server to answer' });
  };
  const kill = async (signal: NodeJS.Signals = 'SIGKILL') => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await once(child, 'exit');
  };
  await start();
  return {
    url: `unix://${path}`,
    path,
    kill,
    restart: start,
    close: async () => {
      await kill('SIGTERM');
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function answers(path: string): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connectSocket(path, () => socket.write('PING\r\n'));
    socket.on('data', (data) => {
      resolve(data.toString().startsWith('+PONG'));
      socket.destroy();
    });
    socket.on('error', () => resolve(false));
  });
}
