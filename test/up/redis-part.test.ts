import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { DataDirectory } from '../../apps/up/src/data-directory.ts';
import type { PartRun } from '../../apps/up/src/part.ts';
import { RedisPart } from '../../apps/up/src/redis-part.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { isAlive } from '../support/up.ts';
import { waitFor } from '../support/wait-for.ts';

const lines: string[] = [];

function makePart(path: string): { part: RedisPart; data: DataDirectory } {
  const data = DataDirectory.open(path);
  onTestFinished(() => data.close());
  const part = new RedisPart({
    data,
    environment: process.env,
    logLevel: 'warn',
    onLine: (line) => lines.push(line),
    onLoading: () => {},
  });
  return { part, data };
}

async function launch(part: RedisPart): Promise<PartRun> {
  const run = part.launch();
  onTestFinished(async () => {
    run.process.kill();
    await run.process.ended;
  });
  await run.ready;
  return run;
}

const ask = (socket: string, ...command: string[]) =>
  spawnSync('redis-cli', ['-s', socket, ...command], { encoding: 'utf8' }).stdout.trim();

it('a Redis of our own keeps what it accepts, forgets nothing, and listens on a socket for its user alone', async () => {
  const { part, data } = makePart(temporaryDirectory());
  await launch(part);
  const config = (name: string) => ask(data.redisSocket, 'CONFIG', 'GET', name).split('\n')[1] ?? '';
  expect(config('appendonly')).toBe('yes');
  expect(config('appendfsync')).toBe('everysec');
  expect(config('maxmemory-policy')).toBe('noeviction');
  expect(config('save')).toBe('');
  expect(config('port')).toBe('0');
  expect(config('dir')).toBe(join(data.path, 'redis'));
  expect(statSync(data.redisSocket).mode & 0o777).toBe(0o700);
  expect(statSync(data.redis).mode & 0o777).toBe(0o700);
  expect(part.url).toBe(`unix://${data.redisSocket}`);
  expect(lines).toEqual([]);
});

it('a Redis that was killed has its keys again', async () => {
  const { part, data } = makePart(temporaryDirectory());
  const first = await launch(part);
  ask(data.redisSocket, 'SET', 'kept', 'yes');
  first.process.kill();
  expect(await first.process.ended).toMatchObject({ signal: 'SIGKILL' });
  await launch(part);
  expect(ask(data.redisSocket, 'GET', 'kept')).toBe('yes');
});

it('SIGTERM ends Redis in order, with its record', async () => {
  const { part, data } = makePart(temporaryDirectory());
  const run = await launch(part);
  expect(existsSync(join(data.path, 'run', 'redis'))).toBe(true);
  await run.process.stop(part.graceMs);
  expect(await run.process.ended).toEqual({ code: 0, signal: null });
  expect(existsSync(join(data.path, 'run', 'redis'))).toBe(false);
});

it('a data directory with a long path has its socket in a private directory elsewhere', async () => {
  const { part, data } = makePart(join(temporaryDirectory(), 'long'.repeat(40), 'with blanks & %'));
  await launch(part);
  expect(Buffer.byteLength(data.redisSocket)).toBeLessThan(107);
  expect(statSync(join(data.redisSocket, '..')).mode & 0o777).toBe(0o700);
  expect(ask(data.redisSocket, 'PING')).toBe('PONG');
});

it('a socket path with blanks becomes a URL that names it', async () => {
  const { part, data } = makePart(join(temporaryDirectory(), 'a b%'));
  await launch(part);
  expect(decodeURIComponent(part.url.slice('unix://'.length))).toBe(data.redisSocket);
  expect(part.url).not.toContain(' ');
});

it('what Redis says is shown when it cannot start', async () => {
  const { part, data } = makePart(temporaryDirectory());
  const first = await launch(part);
  await first.process.stop(part.graceMs);
  spawnSync('sh', ['-c', 'for f in redis/appendonlydir/*; do echo nonsense > "$f"; done'], { cwd: data.path });
  lines.length = 0;
  const run = part.launch();
  expect((await run.process.ended).code).toBe(1);
  await waitFor(() => lines.some((line) => /AOF|manifest|aof/.test(line)), { what: 'the reason' });
});

it('a Redis that an up left behind is stopped before the next one starts', async () => {
  const { part, data } = makePart(temporaryDirectory());
  const left = part.launch();
  await left.ready;
  const pid = Number(ask(data.redisSocket, 'INFO', 'server').match(/process_id:(\d+)/)?.[1]);
  expect(isAlive(pid)).toBe(true);
  expect(await data.stopLeftovers(AbortSignal.timeout(10_000))).toEqual(['redis']);
  expect(isAlive(pid)).toBe(false);
  expect(await data.stopLeftovers(AbortSignal.timeout(10_000))).toEqual([]);
});
