import { type ChildProcess, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it, onTestFinished, vi } from 'vitest';
import { findProgram } from '../../apps/up/setup/find-program.mjs';
import { isRunning, processIdentity } from '../../apps/up/setup/process-identity.mjs';
import { ensurePrograms, PROGRAMS } from '../../apps/up/setup/programs.mjs';
import { namesOfNothing } from '../../apps/up/setup/test-files.mjs';
import { launchModule } from '../support/launch.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';

const HOLDER = fileURLToPath(new URL('../fixtures/parts/hold-setup-lock.mjs', import.meta.url));
const PREPARE = fileURLToPath(new URL('../../apps/up/setup/prepare.mjs', import.meta.url));

/** Another set-up; it says so when it has the lock. */
function holder(directory: string): ChildProcess {
  const child = launchModule(HOLDER, [join(directory, 'lock'), join(directory, 'log')], {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  return child;
}

it('two set-ups of one checkout work one after the other', async () => {
  const directory = temporaryDirectory();
  const first = holder(directory);
  await once(first, 'message');
  const second = holder(directory);
  const says = once(second.stdout as NodeJS.ReadableStream, 'data');
  expect(String(await says)).toContain(`waiting for the set-up that already runs (pid ${first.pid})`);
  first.send('go on');
  await once(second, 'message');
  second.send('go on');
  await once(second, 'exit');
  expect(readFileSync(join(directory, 'log'), 'utf8')).toBe(
    `${first.pid} in\n${first.pid} out\n${second.pid} in\n${second.pid} out\n`,
  );
});

it('the lock of a set-up that was killed counts for nothing, and only one takes it over', async () => {
  const directory = temporaryDirectory();
  const killed = holder(directory);
  await once(killed, 'message');
  killed.kill('SIGKILL');
  await once(killed, 'exit');
  const others = Array.from({ length: 4 }, () => holder(directory));
  for (const other of others) other.on('message', () => other.send('go on'));
  await Promise.all(others.map((other) => once(other, 'exit')));
  const lines = readFileSync(join(directory, 'log'), 'utf8').trim().split('\n').slice(1);
  expect(lines).toHaveLength(8);
  for (let at = 0; at < lines.length; at += 2) expect(lines[at + 1]).toBe(lines[at]?.replace('in', 'out'));
});

it('a process is known by more than its pid', () => {
  const identity = processIdentity(process.pid) ?? '';
  expect(isRunning(identity)).toBe(true);
  expect(isRunning(identity.replace(/ \d+ /, ' 1 '))).toBe(false);
  expect(isRunning(`${process.pid}`)).toBe(false);
  expect(isRunning('')).toBe(false);
  expect(processIdentity(-1)).toBeUndefined();
});

it('a program is found on PATH when it is a file that we may run', () => {
  const directory = temporaryDirectory();
  symlinkSync('/bin/sh', join(directory, 'shell'));
  symlinkSync('/tmp', join(directory, 'folder'));
  expect(findProgram(['nothing', 'shell'], `/nowhere:relative:${directory}`)).toBe(join(directory, 'shell'));
  expect(findProgram(['folder'], directory)).toBeUndefined();
  expect(findProgram(['shell'], undefined)).toBeUndefined();
});

it('a missing program that we may not install is one sentence that says what to do', async () => {
  const { redis, bubblewrap, jq } = PROGRAMS;
  const environment = { PATH: temporaryDirectory() };
  await expect(ensurePrograms([redis, bubblewrap, jq], environment, temporaryDirectory())).rejects.toThrow(
    'redis-server and bwrap are missing and this user may not install packages: install redis and bubblewrap and start again, or use another Redis with --redis URL, or run functions WITHOUT any sandbox with --isolation none.',
  );
  await expect(ensurePrograms([jq], environment, temporaryDirectory())).resolves.toBeUndefined();
});

it('what is missing, and what for, is said before anything is installed; what is large only for the whole of the tests', async () => {
  const { jq, wasmLinker } = PROGRAMS;
  const directory = temporaryDirectory();
  const asked = join(directory, 'asked');
  // No real package manager: this one writes down what it is asked for, and installs it.
  const program = (name: string, script: string) =>
    writeFileSync(join(directory, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  program(
    'apt-get',
    `echo "$@" >> ${asked}; for p in jq wasm-ld; do printf '#!/bin/sh\\n' > ${directory}/$p; chmod +x ${directory}/$p; done`,
  );
  program('sudo', 'shift; exec "$@"');
  vi.stubEnv('PATH', `${directory}:/usr/bin:/bin`);
  const said = vi.spyOn(console, 'log').mockReturnValue(undefined);
  onTestFinished(() => {
    vi.unstubAllEnvs();
    said.mockRestore();
  });
  const environment = { PATH: directory };
  const linesOf = () => said.mock.calls.splice(0).map(([line]) => String(line));

  await ensurePrograms([wasmLinker], environment, directory, { whole: false });
  expect(linesOf()).toEqual([expect.stringMatching(/wasm-ld is not installed: tests of WebAssembly .* are skipped/)]);
  expect(existsSync(asked)).toBe(false);

  await ensurePrograms([jq, wasmLinker], environment, directory);
  expect(linesOf().slice(0, 3)).toEqual([
    expect.stringMatching(/jq is missing: tests type commands/),
    expect.stringMatching(/wasm-ld is missing: tests build WebAssembly/),
    expect.stringMatching(/installing jq, clang, lld, wasi-libc with apt-get/),
  ]);
  expect(readFileSync(asked, 'utf8')).toMatch(/^install .* jq clang lld wasi-libc\n$/);
});

it('a wrong argument is said before anything is set up', () => {
  const { status, stderr, stdout } = spawnSync(process.execPath, [PREPARE, 'up', '--prot', '1'], { encoding: 'utf8' });
  expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
  expect(stderr).toMatch(/^Unknown option '--prot'\.\n\nnpm run up/);
});

it('a path that names no test is refused before anything is set up, and the value of an option is no path', () => {
  const refused = spawnSync(process.execPath, [PREPARE, 'test', 'test/core/nothing.test.ts'], { encoding: 'utf8' });
  expect([refused.status, refused.stderr]).toEqual([
    1,
    'No test file has test/core/nothing.test.ts in its path. They are below test/, and end with .test.ts.\n',
  ]);
  const files = [{ path: 'test/core/states.test.ts', needs: [], quick: true }];
  const args = ['./test/core/states.test.ts:12', 'core/states', '/home/me/pilum/test/core/states.test.ts', '-t', 'a/b'];
  expect(namesOfNothing(files, args)).toEqual([]);
  expect(namesOfNothing(files, ['states.ts', '--reporter=dot', 'test/cor'])).toEqual(['states.ts']);
});
