import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { labelOf, readOwner } from '../../../apps/worker/src/ownership/owner.ts';
import type { Runtime } from '../../../apps/worker/src/runtimes/contract/runtime.ts';
import { createProcessRuntime } from '../../../apps/worker/src/runtimes/process/process-runtime.ts';
import { chooseStagingDirectory } from '../../../apps/worker/src/runtimes/sandbox/staging.ts';
import { PYTHON, stageFunctions } from '../../conformance/process-under-test.ts';
import { type Deployment, TestInstance } from '../../conformance/runtime-under-test.ts';
import { fill } from '../../conformance/snapshots.ts';
import { makeTemporaryDirectory } from '../../support/temporary-directory.ts';
import { waitFor } from '../../support/wait-for.ts';

const data = makeTemporaryDirectory();
let staging: string;
let codeDirectory: string;
const open: Runtime[] = [];
const spare = { isBusy: false, memoryMiB: 4096 };

beforeAll(async () => {
  staging = await chooseStagingDirectory(data);
  codeDirectory = await stageFunctions(staging);
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((runtime) => runtime.close()));
  Object.assign(spare, { isBusy: false, memoryMiB: 4096 });
});
afterAll(() => {
  for (const directory of [staging, data]) rmSync(directory, { recursive: true, force: true });
});

/** A runtime that has so many prewarmed sandboxes of the usual shape, and makes no more until the test says so. */
async function runtimeWith(prewarm: number, pythonPath: string | null = null): Promise<Runtime> {
  const runtime = createProcessRuntime({
    isolation: 'sandbox',
    stagingDirectory: staging,
    nodePath: process.execPath,
    pythonPath,
    allowHostNetwork: false,
    killGraceMs: 100,
    freezeAfterMs: 100,
    prewarm,
    workerId: `blanks-${open.length}`,
    logger: pino({ level: 'silent' }),
  });
  open.push(runtime);
  await runtime.prewarm?.open({ isBusy: () => spare.isBusy, memoryMiB: () => spare.memoryMiB });
  await stand(runtime, prewarm);
  spare.isBusy = true;
  return runtime;
}

const stand = (runtime: Runtime, count: number) =>
  waitFor(() => (runtime.prewarm?.ready().node ?? 0) === count, { what: `${count} blanks` });

let lastId = 0;
async function start(runtime: Runtime, deployment: Deployment, directory = codeDirectory): Promise<TestInstance> {
  const version = fill({ runtime: 'process', ...deployment });
  return new TestInstance(
    await runtime.start(
      { namespace: 'a', version, codeDirectory: directory, layers: [] },
      { instanceId: `blanks-${++lastId}`, signal: AbortSignal.timeout(120_000) },
    ),
  );
}

/** Whether the interpreter was up before the start began. */
async function wasPrewarmed(
  runtime: Runtime,
  deployment: Deployment = {},
  directory = codeDirectory,
): Promise<boolean> {
  const began = performance.now();
  const instance = await start(runtime, { entry: 'uptime.mjs', ...deployment }, directory);
  const { value } = await instance.call({});
  return Number(value) > performance.now() - began;
}

test('a start takes a blank that fits; when none is left it takes the slow way, and works as well', async () => {
  const runtime = await runtimeWith(1);
  expect([await wasPrewarmed(runtime), await wasPrewarmed(runtime)]).toEqual([true, false]);
  spare.isBusy = false;
  await stand(runtime, 1);
  expect(await wasPrewarmed(runtime)).toBe(true);
});

test('with none configured there are none', async () => {
  const runtime = await runtimeWith(0);
  expect(runtime.prewarm).toBeNull();
  expect(await wasPrewarmed(runtime)).toBe(false);
});

test.for([
  ['other memory', { limits: { memoryMiB: 300 } }],
  ['less of a processor', { limits: { cpu: 0.5 } }],
  ['more processes', { limits: { pids: 65 } }],
  ['a larger disk', { limits: { diskMiB: 65 } }],
] as const)('a version that wants %s does not get a blank, until there is one of its own', async ([, deployment]) => {
  const runtime = await runtimeWith(2);
  expect(await wasPrewarmed(runtime, deployment)).toBe(false);
  spare.isBusy = false;
  // One place is that of the usual shape.
  await stand(runtime, 2);
  expect([await wasPrewarmed(runtime, deployment), await wasPrewarmed(runtime)]).toEqual([true, true]);
});

test('what a version wants that a blank can still be given does not matter', async () => {
  const runtime = await runtimeWith(1);
  expect(await wasPrewarmed(runtime, { env: { LEVEL: 'debug' }, limits: { outputMiB: 1 } })).toBe(true);
});

test('code of another file system cannot be linked, and its instance is started the slow way', async () => {
  const elsewhere = mkdtempSync('/dev/shm/pilum-test-');
  try {
    expect(statSync(elsewhere).dev).not.toBe(statSync(staging).dev);
    chmodSync(elsewhere, 0o755);
    cpSync(codeDirectory, elsewhere, { recursive: true });
    const runtime = await runtimeWith(1);
    expect(await wasPrewarmed(runtime, {}, elsewhere)).toBe(false);
    spare.isBusy = false;
    await stand(runtime, 1);
    expect(await wasPrewarmed(runtime)).toBe(true);
  } finally {
    rmSync(elsewhere, { recursive: true });
  }
});

test('code of very many files is started the slow way, and leaves the blank to others', async () => {
  const many = join(staging, 'code', 'many');
  cpSync(codeDirectory, many, { recursive: true });
  mkdirSync(join(many, 'files'));
  for (let i = 0; i < 1100; i++) writeFileSync(join(many, 'files', String(i)), '');
  const runtime = await runtimeWith(1);
  expect([await wasPrewarmed(runtime, {}, many), await wasPrewarmed(runtime)]).toEqual([false, true]);
});

test('instances that need the memory get it: blanks go, and none is made', async () => {
  const runtime = await runtimeWith(2);
  spare.memoryMiB = 0;
  expect(await wasPrewarmed(runtime)).toBe(true);
  expect(runtime.prewarm?.ready()).toEqual({ node: 0 });
  spare.isBusy = false;
  expect(await wasPrewarmed(runtime)).toBe(false);
  expect(runtime.prewarm?.ready()).toEqual({ node: 0 });
});

test('a blank that dies is not given to anyone, and is made up for', async () => {
  const runtime = await runtimeWith(1);
  const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim().split(' ').map(Number);
  for (const pid of children.filter((child) => readFileSync(`/proc/${child}/cmdline`, 'utf8').includes('bwrap'))) {
    process.kill(pid, 'SIGKILL');
  }
  await stand(runtime, 0);
  expect(await wasPrewarmed(runtime)).toBe(false);
  spare.isBusy = false;
  await stand(runtime, 1);
  expect(await wasPrewarmed(runtime)).toBe(true);
});

test('variables that an interpreter reads once count in an instance that was blank', async () => {
  const runtime = await runtimeWith(1);
  const deployment = { entry: 'threads.mjs', env: { UV_THREADPOOL_SIZE: '2' } };
  expect((await (await start(runtime, deployment)).call({})).value).toBe(2);
  expect(runtime.prewarm?.ready()).toEqual({ node: 0 });
});

test('nothing of a blank is left when it, or the instance that it became, has ended', async () => {
  const runtime = await runtimeWith(2, PYTHON);
  await stand(runtime, 2);
  const instance = await start(runtime, { entry: 'uptime.mjs' });
  const owner = labelOf(await readOwner());
  const slots = () => readdirSync(join(staging, 'blanks')).filter((name) => name.startsWith(owner));
  expect(slots().length).toBeGreaterThan(0);
  await instance.stop(0);
  await runtime.close();
  expect(slots()).toEqual([]);
});

test('the code of a dead worker’s blanks is removed, and that of a live one’s is not', async () => {
  const runtime = await runtimeWith(1);
  const dead = join(staging, 'blanks', `${labelOf({ ...(await readOwner()), pid: 4_194_303, startedAt: '1' })}-x`);
  mkdirSync(dead);
  writeFileSync(join(dead, 'index.mjs'), '');
  await runtime.removeOrphans();
  expect(existsSync(dead)).toBe(false);
  expect(await wasPrewarmed(runtime)).toBe(true);
});
