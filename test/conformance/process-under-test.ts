// @needs bubblewrap, python
import { randomUUID } from 'node:crypto';
import { access, cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { pino } from 'pino';
import { labelOf, readOwner } from '../../apps/worker/src/ownership/owner.ts';
import { layersIn } from '../../apps/worker/src/runtimes/contract/layers.ts';
import { createProcessRuntime } from '../../apps/worker/src/runtimes/process/process-runtime.ts';
import { chooseStagingDirectory } from '../../apps/worker/src/runtimes/sandbox/staging.ts';
import { makeTemporaryDirectory } from '../support/temporary-directory.ts';
import type { OpenRuntime, RuntimeUnderTest } from './runtime-under-test.ts';
import { stageLayers } from './stage-layers.ts';
import { withPrewarm } from './with-prewarm.ts';

const FIXTURES = join(import.meta.dirname, '../fixtures/functions');
export const PYTHON = '/usr/bin/python3';
/** Of prewarmed sandboxes, by the file that has it. */
const LOW_WEIGHTS: Readonly<Record<string, number>> = { 'cpu.shares': 256, 'cpu.weight': 25 };
const CGROUPS = ['', '/memory', '/pids', '/cpu', '/freezer', '/unified'].map((name) => `/sys/fs/cgroup${name}`);

/** The process runtime, with the strength of isolation that is asked for. */
export async function processUnderTest(
  isolation: 'sandbox' | 'none',
  { prewarm = 0 }: { prewarm?: 0 | 1 } = {},
): Promise<RuntimeUnderTest> {
  const { runtime, close } = await open(isolation, 0);
  const status = await runtime.check();
  await close();
  return {
    title: `the process runtime${isolation === 'sandbox' ? '' : ' without a sandbox'}${prewarm === 0 ? '' : ', from blanks'}`,
    isolated: isolation === 'sandbox',
    holdsDescendants: isolation === 'sandbox' || status.limits.some((limit) => limit.startsWith('cgroup')),
    streams: true,
    protocols: runtime.capabilities.protocols,
    unavailable: status.available ? null : status.notes.join(' '),
    open: () => open(isolation, prewarm),
  };
}

/** The functions of test/fixtures/functions where sandboxes can read them. */
export async function stageFunctions(staging: string): Promise<string> {
  const codeDirectory = join(staging, 'code', 'test');
  await cp(FIXTURES, codeDirectory, { recursive: true });
  await addDependency(join(codeDirectory, 'package'));
  // Not among the fixtures, where they would be broken for every tool that reads them.
  await writeFile(join(codeDirectory, 'syntax-error.mjs'), 'export default () => {\n  return {;\n};\n');
  await writeFile(join(codeDirectory, 'broken.py'), 'def handler(event, context:\n    return event\n');
  return codeDirectory;
}

async function open(isolation: 'sandbox' | 'none', prewarm: 0 | 1): Promise<OpenRuntime> {
  const workerId = `test-${randomUUID()}`;
  const data = makeTemporaryDirectory();
  const staging = await chooseStagingDirectory(data);
  const codeDirectory = await stageFunctions(staging);
  await stageLayers(staging);
  const hasPython = await access(PYTHON).then(
    () => true,
    () => false,
  );
  const plain = createProcessRuntime({
    isolation,
    stagingDirectory: staging,
    nodePath: process.execPath,
    pythonPath: hasPython ? PYTHON : null,
    allowHostNetwork: true,
    killGraceMs: 500,
    freezeAfterMs: 100,
    prewarm,
    workerId,
    logger: pino({ level: 'warn' }),
  });
  const groups = new Map<string, readonly string[]>();
  const runtime =
    prewarm === 0
      ? plain
      : await withPrewarm(plain, async (instanceId) => {
          const known = new Set([...groups.values()].flat());
          const standing = await cgroupsWith(`.${workerId}.prewarmed-`);
          groups.set(
            instanceId,
            standing.filter((name) => !known.has(name)),
          );
        });
  return {
    runtime,
    codeDirectory,
    layersDirectory: layersIn(staging),
    async leftovers(instanceId) {
      const there = await cgroupsWith(workerId);
      const ours = there.filter((name) => name.endsWith(instanceId) || groups.get(instanceId)?.includes(name));
      // Beside the one that the instance was made from, others may have stood, or just been made; they are nobody's yet.
      return [...(await whatIsNoBlank(ours)), ...(await sockets())];
    },
    async close() {
      await runtime.close();
      await rm(staging, { recursive: true, force: true });
      await rm(data, { recursive: true, force: true });
    },
  };
}

/** A package that a function needs, as an archive with its node_modules would bring it. */
async function addDependency(directory: string): Promise<void> {
  const dependency = join(directory, 'node_modules', 'doubler');
  await mkdir(dependency, { recursive: true });
  await writeFile(join(dependency, 'package.json'), JSON.stringify({ name: 'doubler', main: 'index.js' }));
  await writeFile(join(dependency, 'index.js'), 'exports.double = (n) => 2 * n;\n');
}

/** Names of the cgroups that are there. */
async function cgroupsWith(text: string): Promise<string[]> {
  const found: string[] = [];
  for (const directory of CGROUPS) {
    const names = await readdir(directory, { recursive: true }).catch(() => []);
    found.push(...names.filter((name) => name.includes(text)).map((name) => basename(name)));
  }
  return found;
}

/** The cgroups that are not those of prewarmed sandboxes: a prewarmed sandbox has a low weight until it becomes an instance's. */
async function whatIsNoBlank(names: readonly string[]): Promise<string[]> {
  const prewarm = new Set<string>();
  for (const directory of CGROUPS) {
    for (const path of await readdir(directory, { recursive: true }).catch(() => [])) {
      const [, group = '', file = ''] = /([^/]+)\/(cpu\.shares|cpu\.weight)$/.exec(path) ?? [];
      if (!names.includes(group)) continue;
      const weight = Number(await readFile(join(directory, path), 'utf8').catch(() => ''));
      if (weight === LOW_WEIGHTS[file]) prewarm.add(group);
    }
  }
  return names.filter((name) => !prewarm.has(name));
}

/** Sockets by which this process reaches servers: to be asked where none lives. */
async function sockets(): Promise<string[]> {
  const label = labelOf(await readOwner());
  const directories = (await readdir(tmpdir())).filter((name) => name.startsWith(`pilum-http-${label}-`));
  return (await Promise.all(directories.map((name) => readdir(join(tmpdir(), name))))).flat();
}
