import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SecretKeys } from '@pilum/core/secrets/secret-keys.ts';
import { expect, it, onTestFinished } from 'vitest';
import { startRedis } from '../support/redis.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { isAlive, Up } from '../support/up.ts';
import { waitFor } from '../support/wait-for.ts';

const addressOf = async (up: Up) => (await up.shows(/api +ready +(http:\S+)/))[1] as string;

it('starts Redis, the API and the workers, says so, and shows a call to try', async () => {
  const up = new Up({ data: temporaryDirectory(), arguments: ['--workers', '2'] });
  await up.isReady();
  const address = await addressOf(up);
  expect(up.text).toMatch(/^redis +ready +unix:\/\/\/\S+\/redis\.sock$/m);
  expect(up.text).toMatch(/^worker-1 +ready$/m);
  expect(up.text).toMatch(/^worker-2 +ready$/m);
  expect(up.text).toMatch(/^sandbox +OFF/m);
  expect(up.text).toContain(
    `curl -sX PUT ${address}/v1/artifacts/hello -H 'content-type: application/json' -d '{"runtime":"process"`,
  );
  expect(up.text.indexOf('redis ')).toBeLessThan(up.text.indexOf('api '));
  expect(await (await fetch(address)).text()).toBe(String(up.pid('api')));
  expect(up.text).toMatch(/^worker-1 +\| part \d+ level=warn redis=unix:\/\//m);
});

it('the call to try has the key where there is one, and the key itself is shown nowhere', async () => {
  const key = 'a-secret-of-the-operator';
  const up = new Up({ data: temporaryDirectory(), environment: { PILUM_API_KEY: key, PILUM_LOG_LEVEL: 'error' } });
  await up.isReady();
  expect(up.text).toContain('-H "authorization: Bearer $PILUM_API_KEY"');
  expect(up.text).toContain('level=error');
  expect(up.text).not.toContain(key);
});

it('SIGTERM stops workers, the API and Redis, in this order, and leaves nothing', async () => {
  const up = new Up({ data: temporaryDirectory() });
  await up.isReady();
  const pids = [...up.pids().values()];
  expect(pids).toHaveLength(3);
  up.child.kill('SIGTERM');
  expect(await up.ended).toEqual({ code: 0, signal: null });
  expect(pids.filter(isAlive)).toEqual([]);
  expect(up.text).not.toMatch(/^redis +\|/m);
  expect(up.text.indexOf('worker-1  | stopping')).toBeGreaterThan(0);
  expect(up.text.indexOf('api       | stopping')).toBeGreaterThan(up.text.indexOf('worker-1  | stopping'));
});

it('a signal in the middle of the start stops what has been started', async () => {
  const up = new Up({ data: temporaryDirectory() });
  await up.shows(/redis +ready/);
  up.child.kill('SIGINT');
  expect(await up.ended).toEqual({ code: 0, signal: null });
  expect(up.pids().size).toBe(0);
});

it('a second signal does not wait for a part that will not stop', async () => {
  const up = new Up({ data: temporaryDirectory(), worker: 'deaf.mjs' });
  await up.isReady();
  const pids = [...up.pids().values()];
  up.child.kill('SIGINT');
  await up.shows(/SIGTERM\? No/);
  // The same Ctrl-C may come to us twice, by npm; only a later one is a second wish.
  await sleep(600);
  up.child.kill('SIGINT');
  expect(await up.ended).toEqual({ code: 1, signal: null });
  expect(pids.filter(isAlive)).toEqual([]);
});

it('a part that will not stop is killed after its grace', async () => {
  const up = new Up({ data: temporaryDirectory(), worker: 'deaf.mjs', environment: { PILUM_DRAIN_MS: '0' } });
  await up.isReady();
  const worker = up.pid('worker-1');
  up.child.kill('SIGTERM');
  expect(await up.ended).toEqual({ code: 0, signal: null });
  expect(isAlive(worker)).toBe(false);
});

it.each(['redis', 'api', 'worker-1'])('%s is started again after kill -9', async (name) => {
  const up = new Up({ data: temporaryDirectory() });
  await up.isReady();
  const before = up.pid(name);
  process.kill(before, 'SIGKILL');
  await up.shows(new RegExp(`^${name} +ended \\(SIGKILL\\); starting it again in 100 ms$`, 'm'));
  await up.shows(new RegExp(`^${name} +ready`, 'm'), 2);
  expect(up.pid(name)).not.toBe(before);
  expect(up.pids().size).toBe(3);
});

it('the API keeps its port when it is started again', async () => {
  const up = new Up({ data: temporaryDirectory() });
  await up.isReady();
  const address = await addressOf(up);
  process.kill(up.pid('api'), 'SIGKILL');
  await up.shows(/^api +ready/m, 2);
  expect(await (await fetch(address)).text()).toBe(String(up.pid('api')));
});

it('nothing outlives an up that was killed, and the next one goes on with its data', async () => {
  const data = temporaryDirectory();
  const up = new Up({ data });
  await up.isReady();
  const socket = join(data, 'redis', 'redis.sock');
  expect(spawnSync('redis-cli', ['-s', socket, 'SET', 'kept', 'yes'], { encoding: 'utf8' }).stdout).toBe('OK\n');
  const pids = [...up.pids().values()];
  up.child.kill('SIGKILL');
  const next = new Up({ data });
  await next.isReady();
  await waitFor(() => pids.every((pid) => !isAlive(pid)), { what: 'the end of the first parts' });
  expect(spawnSync('redis-cli', ['-s', socket, 'GET', 'kept'], { encoding: 'utf8' }).stdout).toBe('yes\n');
});

it('stops when what it was started by is killed', async () => {
  const up = new Up({ data: temporaryDirectory() });
  await up.isReady();
  const pids = [...up.pids().values()];
  up.child.disconnect();
  expect(await up.ended).toEqual({ code: 0, signal: null });
  expect(pids.filter(isAlive)).toEqual([]);
});

it('a second up on the same data is refused and does no harm', async () => {
  const data = temporaryDirectory();
  const first = new Up({ data });
  await first.isReady();
  const second = new Up({ data });
  expect(await second.ended).toEqual({ code: 1, signal: null });
  expect(second.text.trim()).toBe(
    `Pilum is already running on ${data} (pid ${first.child.pid}): stop that one first, or choose another directory with --data.`,
  );
  expect(first.pids().size).toBe(3);
  first.child.kill('SIGTERM');
  expect(await first.ended).toEqual({ code: 0, signal: null });
});

it('a port in use is one sentence, and nothing is started', async () => {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  onTestFinished(() => void server.close());
  const { port } = server.address() as { port: number };
  const up = new Up({ data: temporaryDirectory(), arguments: ['--port', String(port)] });
  expect(await up.ended).toEqual({ code: 1, signal: null });
  expect(up.text.trim()).toBe(
    `Port ${port} on 127.0.0.1 is in use: stop what listens there, or choose another port with --port.`,
  );
});

it('an address of another machine is one sentence', async () => {
  const up = new Up({
    data: temporaryDirectory(),
    arguments: ['--host', '192.0.2.1'],
    environment: { PILUM_API_KEY: 'k' },
  });
  expect(await up.ended).toEqual({ code: 1, signal: null });
  expect(up.text.trim()).toBe('192.0.2.1 is not an address of this machine: choose one that is with --host.');
});

it('a data directory that cannot be made is one sentence', async () => {
  const directory = temporaryDirectory();
  writeFileSync(join(directory, 'file'), '');
  const up = new Up({ data: join(directory, 'file', 'data') });
  expect(await up.ended).toEqual({ code: 1, signal: null });
  expect(up.text.trim()).toMatch(
    /^The data directory \S+ cannot be used \(ENOTDIR\): make it writable for this user, or/,
  );
});

it('without a redis-server on PATH it says what to do', async () => {
  const up = new Up({ data: temporaryDirectory(), environment: { PATH: '/nowhere' } });
  expect(await up.ended).toEqual({ code: 1, signal: null });
  expect(up.text).toContain('redis-server is not on PATH: install it, or use another Redis with --redis URL.');
});

it('without bubblewrap it says what to do', async () => {
  const up = new Up({
    data: temporaryDirectory(),
    arguments: ['--isolation', 'sandbox'],
    environment: { PATH: '/nowhere' },
  });
  expect(await up.ended).toEqual({ code: 1, signal: null });
  expect(up.text.trim()).toBe(
    'bwrap is not on PATH: install bubblewrap, or run functions WITHOUT any sandbox with --isolation none.',
  );
});

it('a part with a wrong configuration stops everything', async () => {
  const up = new Up({ data: temporaryDirectory(), worker: 'misconfigured.mjs' });
  expect(await up.ended).toEqual({ code: 1, signal: null });
  expect(up.text).toContain('worker-1  | PILUM_COLOUR is not a setting');
  expect(up.text).toContain('worker-1 cannot work with its configuration');
  expect(up.pids().size).toBe(0);
});

it('a part that cannot start stops everything', async () => {
  const up = new Up({ data: temporaryDirectory(), api: 'broken.mjs' });
  expect(await up.ended).toEqual({ code: 1, signal: null });
  expect(up.text).toContain('this part never starts');
  expect(up.text).toContain('api could not be started (exit code 1): its log above says why.');
  expect(up.pids().size).toBe(0);
});

it('uses another Redis, and never shows its password', async () => {
  const redis = await startRedis();
  onTestFinished(() => redis.close());
  const up = new Up({ data: temporaryDirectory(), arguments: ['--redis', redis.url] });
  await up.isReady();
  expect(up.text).toContain(`redis=${redis.url}`);
  expect([...up.pids().keys()].sort()).toEqual(['api', 'worker-1']);
});

it('another Redis that does not answer is one sentence', async () => {
  const up = new Up({ data: temporaryDirectory(), arguments: ['--redis', 'redis://:hush@127.0.0.1:1'] });
  expect(await up.ended).toEqual({ code: 1, signal: null });
  expect(up.text).toMatch(/The Redis of --redis cannot be used \(connect ECONNREFUSED 127\.0\.0\.1:1\)/);
  expect(up.text).not.toContain('hush');
});

it('makes a key for secrets that is this user’s alone, once, unless the operator names others', async () => {
  const data = temporaryDirectory();
  const path = join(data, 'secrets.key');
  const first = new Up({ data });
  await first.isReady();
  const made = readFileSync(path, 'utf8');
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(SecretKeys.parse(made, 'a test').ids).toHaveLength(1);
  expect(readFileSync(`/proc/${first.pid('worker-1')}/environ`, 'latin1')).toContain(`PILUM_SECRETS_KEY_FILE=${path}`);
  first.child.kill('SIGTERM');
  await first.ended;
  const second = new Up({ data });
  await second.isReady();
  expect(readFileSync(path, 'utf8')).toBe(made);
  expect(first.text + second.text).not.toContain(made.trim().split('\n').at(-1));

  const other = temporaryDirectory();
  const own = new Up({ data: other, environment: { PILUM_SECRETS_KEY: SecretKeys.generate() } });
  await own.isReady();
  expect(existsSync(join(other, 'secrets.key'))).toBe(false);
});
