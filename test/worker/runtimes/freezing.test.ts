// @needs bubblewrap
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createProcessRuntime } from '../../../apps/worker/src/runtimes/process/process-runtime.ts';
import { chooseStagingDirectory } from '../../../apps/worker/src/runtimes/sandbox/staging.ts';
import { stageFunctions } from '../../conformance/process-under-test.ts';
import { Bench, type RuntimeUnderTest, type TestInstance } from '../../conformance/runtime-under-test.ts';
import { makeTemporaryDirectory } from '../../support/temporary-directory.ts';
import { waitFor } from '../../support/wait-for.ts';

const FREEZE_AFTER_MS = 50;
/** Answers a call, and has a process behind that never stops computing. */
const LOOP = `import { spawn } from 'node:child_process';
let calls = 0;
export default () => {
  if (calls === 0) spawn('/bin/sh', ['-c', 'while :; do :; done'], { detached: true, stdio: 'ignore' }).unref();
  return ++calls;
};`;
/** A server that goes on computing, whatever it has answered. */
const SERVER = `import { createServer } from 'node:http';
import { spawn } from 'node:child_process';
spawn('/bin/sh', ['-c', 'while :; do :; done'], { stdio: 'ignore' });
createServer((request, response) => setTimeout(() => response.end('served'), Number(request.headers['x-wait'] ?? 0))).listen(process.env.PORT);`;

const data = makeTemporaryDirectory();
let staging: string;
let codeDirectory: string;
const workerId = `freezing-${randomUUID().slice(0, 8)}`;

beforeAll(async () => {
  staging = await chooseStagingDirectory(data);
  codeDirectory = await stageFunctions(staging);
  await writeFile(join(codeDirectory, 'loop.mjs'), LOOP);
  await writeFile(join(codeDirectory, 'server.mjs'), SERVER);
});
afterAll(async () => {
  for (const directory of [staging, data]) await rm(directory, { recursive: true, force: true });
});

/** The processes in the cgroup of an instance. */
function processesOf({ instance }: TestInstance): string[] {
  for (const tree of ['/sys/fs/cgroup/pids/pilum', '/sys/fs/cgroup/pilum']) {
    try {
      const name = readdirSync(tree).find((each) => each.includes(workerId) && each.endsWith(instance.instanceId));
      if (name !== undefined)
        return readFileSync(join(tree, name, 'cgroup.procs'), 'utf8')
          .split('\n')
          .filter(Boolean);
    } catch {
      // This machine has the other version.
    }
  }
  return [];
}

/** Processor time of an instance so far, in ticks of the kernel. */
function ticksOf(instance: TestInstance): number {
  return processesOf(instance)
    .map((pid) => {
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
      return Number(fields[11]) + Number(fields[12]);
    })
    .reduce((sum, ticks) => sum + ticks, 0);
}

/** Resolves when a whole look long no processor was used. */
const standsStill = (instance: TestInstance) =>
  waitFor(
    async () => {
      const before = ticksOf(instance);
      await sleep(300);
      return processesOf(instance).length > 0 && ticksOf(instance) === before;
    },
    { what: 'an instance that stands still' },
  );

describe.each(['sandbox', 'none'] as const)('an instance between its calls (%s)', (isolation) => {
  let bench: Bench;
  beforeAll(async () => {
    const runtime = createProcessRuntime({
      isolation,
      stagingDirectory: staging,
      nodePath: process.execPath,
      pythonPath: null,
      allowHostNetwork: false,
      killGraceMs: 500,
      freezeAfterMs: FREEZE_AFTER_MS,
      prewarm: 0,
      workerId,
      logger: pino({ level: 'warn' }),
    });
    const open = async () => ({
      runtime,
      codeDirectory,
      layersDirectory: '',
      leftovers: async () => [],
      close: () => runtime.close(),
    });
    bench = await Bench.of({ open } as unknown as RuntimeUnderTest);
  });
  afterEach(() => bench.clear());
  afterAll(() => bench.open.close());

  test('stands still with all that it has started, and goes on where it was at its next call', async () => {
    const instance = await bench.start({ entry: 'loop.mjs' });
    for (const expected of [1, 2, 3]) {
      expect((await instance.call({})).value).toBe(expected);
      await standsStill(instance);
    }
  });

  test('that has never been called stands still as well', async () => {
    await standsStill(await bench.start({ entry: 'counter.mjs' }));
  });

  test('goes on computing where its spec says so', async () => {
    const instance = await bench.start({ entry: 'loop.mjs', pool: { background: true } });
    await instance.call({});
    await sleep(2 * FREEZE_AFTER_MS);
    for (let look = 0; look < 3; look++) {
      const before = ticksOf(instance);
      await waitFor(() => ticksOf(instance) > before + 5, { what: 'an instance that computes' });
    }
  });

  test('is well when it is asked, and stands still after that', async () => {
    const instance = await bench.start({ entry: 'loop.mjs' });
    await instance.call({});
    for (let turn = 0; turn < 3; turn++) {
      await standsStill(instance);
      expect(await instance.instance.check(5000)).toBe(true);
    }
  });

  test('is not well where its call has left it spinning', async () => {
    const instance = await bench.start({ entry: 'spins-afterwards.mjs' });
    await instance.call({});
    await standsStill(instance);
    expect(await instance.instance.check(200)).toBe(false);
    await standsStill(instance);
  });

  test('ends when it is stopped, and is told to before', async () => {
    const instance = await bench.start({ entry: 'echo.mjs' });
    await standsStill(instance);
    await instance.stop(30_000);
    expect(await instance.instance.ended).toMatchObject({ reason: 'stopped', signal: 'SIGTERM' });
    expect(processesOf(instance)).toEqual([]);
  });

  test('ends at once where it has no grace', async () => {
    const instance = await bench.start({ entry: 'loop.mjs' });
    await instance.call({});
    await standsStill(instance);
    await instance.stop(0);
    expect(await instance.instance.ended).toMatchObject({ reason: 'stopped' });
    expect(processesOf(instance)).toEqual([]);
  });

  test('a call that takes longer than the pause before it runs to its end', async () => {
    const instance = await bench.start({ protocol: 'http', command: ['node', 'server.mjs'] });
    await standsStill(instance);
    const answer = await instance.call({}, { headers: { 'x-wait': String(8 * FREEZE_AFTER_MS) } });
    expect(answer.value).toBe('served');
    await standsStill(instance);
  });

  test('of several calls in one server none is held up by the end of another', async () => {
    const instance = await bench.start({
      protocol: 'http',
      command: ['node', 'server.mjs'],
      pool: { concurrency: 4 },
    });
    const waits = [1, 4, 8, 12].map((times) => String(times * FREEZE_AFTER_MS));
    const answers = await Promise.all(waits.map((wait) => instance.call({}, { headers: { 'x-wait': wait } })));
    expect(answers.map(({ value }) => value)).toEqual(['served', 'served', 'served', 'served']);
    await standsStill(instance);
    expect((await instance.call({})).value).toBe('served');
  });
});
