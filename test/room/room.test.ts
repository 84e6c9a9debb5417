// @needs redis
// @set whole: it runs tests within tests.
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { launch } from '../support/launch.ts';
import { processesOf, sweep } from '../support/room/sweep.ts';
import { temporaryDirectory } from '../support/temporary-directory.ts';
import { waitFor } from '../support/wait-for.ts';

const ROOT = join(import.meta.dirname, '../..');

interface Run {
  readonly runner: ChildProcess;
  /** Where it makes its room. */
  readonly place: string;
  /** Resolves when its set-up has started everything. */
  reached(): Promise<unknown>;
  /** Resolves with its exit code or signal, when nobody holds its output any more. */
  readonly ended: Promise<number | string>;
  output(): string;
}

/** Runs a file whose set-up starts Redis, the API and a worker, and ends in a way of its own. */
function runFile(ending: string, { hookMs = 600_000, limitMin = 60 } = {}): Run {
  const place = temporaryDirectory();
  const reached = join(temporaryDirectory(), 'reached');
  const config = 'test/fixtures/room/vitest.config.ts';
  const runner = launch(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', '--config', config], {
    cwd: ROOT,
    env: {
      PATH: process.env.PATH,
      NO_COLOR: '1',
      TMPDIR: place,
      TEST_ENDING: ending,
      TEST_REACHED: reached,
      TEST_HOOK_MS: String(hookMs),
      PILUM_TEST_LIMIT_MIN: String(limitMin),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  for (const stream of [runner.stdout, runner.stderr]) {
    stream?.on('data', (chunk) => {
      text += chunk;
    });
  }
  return {
    runner,
    place,
    reached: () => waitFor(() => existsSync(reached), { what: 'the end of what set-up starts', timeoutMs: 100_000 }),
    ended: once(runner, 'close').then(([code, signal]) => code ?? signal),
    output: () => text,
  };
}

async function nothingIsLeft(place: string): Promise<void> {
  const nothing = () => {
    expect(readdirSync(place)).toEqual([]);
    expect(processesOf(place)).toEqual([]);
    return true;
  };
  // A guardian whose runner was killed needs a moment, and then one more: it removes the directory before it ends itself.
  await waitFor(nothing, { what: 'the end of everything that was started' });
}

it.each([
  ['times out', { hookMs: 1 }, 'Hook timed out in 1ms'],
  ['fails an assertion', {}, "expected 'the set-up' to be 'well'"],
  ['is killed', {}, 'exited unexpectedly with signal SIGKILL'],
])('a run ends by itself and leaves nothing where a set-up %s', async (ending, options, message) => {
  const { ended, output, place } = runFile(ending, options);
  expect(await ended).toBe(1);
  expect(output()).toContain(message);
  // What was never started is not what failed.
  expect(output()).not.toContain('TypeError');
  expect(output()).toMatch(/\n0 passed, 1 failed(, 1 skipped)?\n$/);
  await nothingIsLeft(place);
});

it('a run that hangs is given up, and says what still ran', async () => {
  const { ended, output, place } = runFile('never comes back', { limitMin: 0.1 });
  expect(await ended).toBe(143);
  expect(output()).toMatch(/have not ended within 0\.1 minutes\. Still running:\n {2}test\/fixtures\/room\/half-way/);
  expect(output()).toMatch(/\n0 passed, 1 failed\n$/);
  await nothingIsLeft(place);
});

it.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGKILL', 'SIGKILL'],
] as const)('%s of the runner ends everything', async (signal, code) => {
  const { runner, reached, ended, place } = runFile('never comes back');
  await reached();
  expect(processesOf(place).length).toBeGreaterThan(4);
  runner.kill(signal);
  expect(await ended).toBe(code);
  if (signal !== 'SIGKILL') expect(readdirSync(place)).toEqual([]);
  await nothingIsLeft(place);
});

it('a sweep ends what works in a directory, or has its path, and not what has a longer one', async () => {
  const parent = temporaryDirectory();
  const [swept, neighbour] = [join(parent, '12'), join(parent, '123')];
  for (const directory of [swept, neighbour]) mkdirSync(directory);
  const deaf = 'trap "" TERM; while :; do sleep 1; done';
  const [works, named, stopped] = [
    launch('sh', ['-c', deaf], { cwd: swept }),
    launch('sh', ['-c', `exec sleep 1000`], { env: { WHERE: `unix://${swept}/socket` } }),
    launch('tail', ['-f', '/dev/null', join(swept, 'log')]),
  ];
  const other = launch('tail', ['-f', '/dev/null', join(neighbour, 'log')]);
  await waitFor(() => processesOf(swept).length >= 3);
  stopped.kill('SIGSTOP');
  const endings = Promise.all([works, named, stopped].map((child) => once(child, 'exit')));
  expect((await sweep(swept)).map(({ pid }) => pid)).toEqual(
    expect.arrayContaining([works.pid, named.pid, stopped.pid]),
  );
  await endings;
  expect(readdirSync(parent)).toEqual(['123']);
  expect([other.exitCode, other.signalCode]).toEqual([null, null]);
});
