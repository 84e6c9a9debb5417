import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ProcessRuntimeOptions } from '../../../apps/worker/src/runtimes/process/options.ts';
import { createProcessRuntime } from '../../../apps/worker/src/runtimes/process/process-runtime.ts';
import { detectCgroups } from '../../../apps/worker/src/runtimes/sandbox/cgroup/detect.ts';
import { chooseStagingDirectory, isOpenToOthers } from '../../../apps/worker/src/runtimes/sandbox/staging.ts';
import { PYTHON, stageFunctions } from '../../conformance/process-under-test.ts';
import { processesWith, uniqueMarker } from '../../conformance/processes.ts';
import type { Deployment } from '../../conformance/runtime-under-test.ts';
import { fill } from '../../conformance/snapshots.ts';
import { makeTemporaryDirectory, temporaryDirectory } from '../../support/temporary-directory.ts';
import { waitFor } from '../../support/wait-for.ts';

const logger = pino({ level: 'silent' });
const isRoot = process.getuid?.() === 0;
/** sched(7), in the kernel's numbers. */
const SCHED_BATCH = '3';
const data = makeTemporaryDirectory();
let staging: string;
let codeDirectory: string;

beforeAll(async () => {
  staging = await chooseStagingDirectory(data);
  codeDirectory = await stageFunctions(staging);
});
afterAll(() => execa('rm', ['-rf', staging, data]));

const runtimeWith = (options: Partial<ProcessRuntimeOptions> = {}) =>
  createProcessRuntime({
    isolation: 'sandbox',
    stagingDirectory: staging,
    nodePath: process.execPath,
    pythonPath: PYTHON,
    allowHostNetwork: false,
    killGraceMs: 100,
    freezeAfterMs: 100,
    prewarm: 0,
    workerId: 'test',
    logger,
    ...options,
  });

const start = (runtime: ReturnType<typeof runtimeWith>, { withoutCode, ...deployment }: Deployment) =>
  runtime.start(
    { namespace: 'a', version: fill({ runtime: 'process', ...deployment }), codeDirectory, layers: [] },
    { instanceId: `i-${uniqueMarker()}`, signal: AbortSignal.timeout(120_000) },
  );

test.each(['sandbox', 'none'] as const)('functions are scheduled as a batch (%s)', async (isolation) => {
  const runtime = runtimeWith({ isolation });
  const instance = await start(runtime, { protocol: 'stdio', command: ['cat', '/proc/self/stat'], withoutCode: true });
  const result = await instance.call({
    taskId: 'a.1',
    attempt: 1,
    deadlineMs: Date.now() + 10_000,
    contentType: 'text/plain',
    payload: Buffer.alloc(0),
    headers: {},
    http: null,
    traceparent: null,
    log: { write: () => undefined },
    chunks: null,
    progress: () => undefined,
    signal: AbortSignal.timeout(120_000),
  });
  // proc(5): the policy is the 41st field; the second is the name, and ends with the last parenthesis.
  const policy = result.ok ? result.body.toString().split(') ').at(-1)?.split(' ')[41 - 3] : result.error;
  expect(policy).toBe(SCHED_BATCH);
  await runtime.close();
});

describe('what a worker refuses', () => {
  test('the host’s network, where the operator does not grant it', async () => {
    const refused = start(runtimeWith(), { entry: 'echo.mjs', limits: { network: 'host' } });
    await expect(refused).rejects.toMatchObject({ code: 'FORBIDDEN' });
  });

  test('functions in Python where there is no Python, and nothing else', async () => {
    const runtime = runtimeWith({ pythonPath: null });
    expect((await runtime.check()).notes.join()).toContain('functions in Python that name no interpreter are refused');
    await expect(start(runtime, { language: 'python', entry: 'main.py' })).rejects.toMatchObject({
      code: 'RUNTIME_UNAVAILABLE',
      message: expect.stringContaining('Python'),
    });
    await start(runtime, { entry: 'echo.mjs' });
    await runtime.close();
  });

  test('a handler without code, and stdio without a command', async () => {
    const version = fill({ runtime: 'process' });
    const started = runtimeWith().start(
      { namespace: 'a', version, codeDirectory: null, layers: [] },
      { instanceId: 'i', signal: AbortSignal.timeout(120_000) },
    );
    await expect(started).rejects.toMatchObject({ code: 'INSTANCE_START_FAILED' });
    await expect(start(runtimeWith(), { protocol: 'stdio' })).rejects.toMatchObject({ code: 'INSTANCE_START_FAILED' });
  });
});

describe.each(['sandbox', 'none'] as const)('a worker that is killed (%s)', (isolation) => {
  test('takes all of its instances with it, and the next one clears up after it', async () => {
    const marker = uniqueMarker();
    const script = fileURLToPath(new URL('./doomed-worker.ts', import.meta.url));
    const worker = execa(process.execPath, [script, staging, codeDirectory, isolation, marker], { reject: false });
    const groups = await detectCgroups(logger);
    try {
      const said = await Promise.race([worker.iterable().next(), worker]);
      expect(said).toMatchObject({ value: 'up' });
      expect(processesWith(marker).length).toBeGreaterThan(2);
    } finally {
      worker.kill('SIGKILL');
    }
    // Without a sandbox what has left its session lives on until the next worker ends its cgroup.
    if (isolation === 'sandbox') await waitFor(() => processesWith(marker).length === 0, { what: 'the end of all' });
    await worker;
    const next = runtimeWith({ isolation });
    expect((await next.check()).available).toBe(true);
    if (groups !== null) {
      await waitFor(() => processesWith(marker).length === 0, { what: 'the end of all' });
      // Any other worker of this machine may be at it as well.
      await waitFor(async () => !(await groups.list()).some((name) => name.includes('.doomed.')), {
        what: 'the end of all cgroups',
      });
    }
    await next.close();
  });
});

describe('the staging directory', () => {
  test.runIf(isRoot)('of a root worker is one that sandboxes can get to, also where the data is private', async () => {
    const data = temporaryDirectory();
    const chosen = await chooseStagingDirectory(data);
    expect(chosen).toMatch(/^\/var\/cache\/pilum\/[0-9a-f]{16}$/);
    expect((await stat(chosen)).mode & 0o777).toBe(0o711);
    expect(await isOpenToOthers(chosen, 0o001)).toBe(true);
    expect(await chooseStagingDirectory(data)).toBe(chosen);
    await execa('rm', ['-rf', chosen]);
  });

  test.runIf(isRoot)('goes when its data directory has gone', async () => {
    const [gone, there] = [temporaryDirectory(), temporaryDirectory()];
    const abandoned = await chooseStagingDirectory(gone);
    await execa('rm', ['-rf', gone]);
    const chosen = await chooseStagingDirectory(there);
    await expect(stat(abandoned)).rejects.toThrow('ENOENT');
    expect((await stat(chosen)).isDirectory()).toBe(true);
    await execa('rm', ['-rf', chosen]);
  });

  test('is the cache in the data directory where that is open', async () => {
    const data = temporaryDirectory();
    await execa('chmod', ['755', data]);
    expect(await chooseStagingDirectory(join(data, 'sub'))).toBe(join(data, 'sub', 'cache'));
  });

  test.runIf(isRoot)('gets the interpreter where sandboxes cannot get to it', async () => {
    const hidden = temporaryDirectory();
    const node = join(hidden, 'node');
    await execa('cp', ['--reflink=auto', process.execPath, node]);
    const runtime = runtimeWith({ nodePath: node });
    const instance = await start(runtime, { entry: 'echo.mjs' });
    expect(instance.reusable).toBe(true);
    expect((await readdir(staging)).some((name) => name.startsWith('node-'))).toBe(true);
    await runtime.close();
  });
});

test('what a cleaner has taken away of ours is there again for the next start', async () => {
  const runtime = runtimeWith();
  const deployment = { entry: 'rough.mjs#result' };
  await (await start(runtime, deployment)).stop({ graceMs: 0 });
  const ours = (await readdir(staging)).filter((name) => name.startsWith('bootstrap-'));
  expect(ours.length).toBeGreaterThan(1);
  for (const name of ours) await rm(join(staging, name), { recursive: true });
  await (await start(runtime, deployment)).stop({ graceMs: 0 });
  expect(await readdir(staging)).toEqual(expect.arrayContaining(ours));
  await runtime.close();
});
