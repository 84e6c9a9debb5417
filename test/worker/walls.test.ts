// @needs bubblewrap, python
import { rm } from 'node:fs/promises';
import { readConfiguration } from '@pilum/core/config/read-configuration.ts';
import { RUNTIME_KINDS } from '@pilum/core/spec/runtimes.ts';
import { missingWalls, WALL_NAMES, wallsNamed } from '@pilum/core/spec/walls.ts';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { interpretersLine, wallsLine } from '../../apps/up/src/walls-line.ts';
import { AvailableRuntimes } from '../../apps/worker/src/runtimes/available-runtimes.ts';
import type { Runtime } from '../../apps/worker/src/runtimes/contract/runtime.ts';
import { wallsOfContainers } from '../../apps/worker/src/runtimes/docker/walls.ts';
import { createProcessRuntime } from '../../apps/worker/src/runtimes/process/process-runtime.ts';
import { chooseStagingDirectory } from '../../apps/worker/src/runtimes/sandbox/staging.ts';
import { wallsOf } from '../../apps/worker/src/runtimes/sandbox/walls.ts';
import { fill } from '../conformance/snapshots.ts';
import { makeTemporaryDirectory } from '../support/temporary-directory.ts';

const logger = pino({ level: 'silent' });
const data = makeTemporaryDirectory();
let staging: string;
const open: { close(): unknown }[] = [];

beforeAll(async () => {
  staging = await chooseStagingDirectory(data);
});
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});
afterAll(async () => {
  for (const directory of [staging, data]) await rm(directory, { recursive: true, force: true });
});

function processRuntime(options: { isolation?: 'sandbox' | 'none'; freezeAfterMs?: number } = {}): Runtime {
  const runtime = createProcessRuntime({
    isolation: 'sandbox',
    stagingDirectory: staging,
    nodePath: process.execPath,
    pythonPath: null,
    allowHostNetwork: false,
    killGraceMs: 100,
    freezeAfterMs: 100,
    prewarm: 0,
    workerId: 'walls',
    logger,
    ...options,
  });
  open.push(runtime);
  return runtime;
}

function available(runtimes: readonly Runtime[], required: string): AvailableRuntimes {
  const all = new AvailableRuntimes(runtimes, wallsNamed(required), () => undefined, logger);
  open.push(all);
  return all;
}

/** A runtime that says of itself what a test wants. */
const saying = (kind: 'docker' | 'wasm', walls?: Record<string, string | null>) =>
  ({
    kind,
    check: async () => ({
      kind,
      available: true,
      isolation: 'sandbox',
      limits: [],
      notes: ['a note'],
      ...(walls && { walls }),
    }),
  }) as unknown as Runtime;

describe('the walls of a runtime', () => {
  it('are all in force around processes of this machine', async () => {
    const { walls = {} } = await processRuntime().check();
    expect(missingWalls(walls)).toEqual([]);
    expect(Object.keys(walls)).toEqual(WALL_NAMES);
  });

  it('are said to be missing with the reason, where there is no sandbox', async () => {
    const { walls = {} } = await processRuntime({ isolation: 'none', freezeAfterMs: 0 }).check();
    const missing = missingWalls(walls);
    const names = ['sandbox', 'seccomp', 'userns', 'network', 'disk-size', 'freezer', 'watching'];
    expect(missing.map(({ wall }) => wall)).toEqual(names);
    expect(walls.freezer).toContain('PILUM_FREEZE_AFTER_MS');
    for (const { why } of missing.filter(({ wall }) => wall !== 'freezer')) expect(why).toContain('PILUM_ISOLATION');
  });

  it('are missing where the kernel has no cgroup, or not all of them', () => {
    const without = missingWalls(wallsOf(null, null, 100)).map(({ wall }) => wall);
    expect(without).toEqual(WALL_NAMES);
    const some = { controllers: new Set(['memory']), freezes: false, limitsSockets: false };
    const sandbox = { features: { disableUserns: false, size: false, perms: true }, unfiltered: 'no filter' };
    const walls = wallsOf(some as never, sandbox as never, 100);
    expect(missingWalls(walls).map(({ wall }) => wall)).toEqual(
      WALL_NAMES.filter((wall) => !['sandbox', 'network', 'memory'].includes(wall)),
    );
  });

  it('are those that an Engine says that it has, around containers', () => {
    const all = { version: '27', cgroupVersion: '2', ociRuntimes: [], unlimited: [], hasFilter: true };
    const facts = { ...all, sockets: 'memory' as const };
    const missing = (more: object, pauseAfterMs = 0, freezes: boolean | null = null) =>
      missingWalls(wallsOfContainers({ ...facts, ...more }, freezes, { freezeAfterMs: 100, pauseAfterMs })).map(
        ({ wall }) => wall,
      );
    expect(missing({})).toEqual(['disk-reads', 'freezer', 'watching']);
    expect(missing({}, 0, false)).toEqual(['disk-reads', 'freezer', 'watching']);
    expect(missing({}, 0, true)).toEqual(['disk-reads', 'watching']);
    expect(missing({ sockets: null, hasFilter: false, unlimited: ['swap', 'CPU'] }, 100)).toEqual([
      ...['seccomp', 'userns', 'memory', 'cpu', 'sockets', 'disk-reads', 'watching'],
    ]);
  });
});

describe('PILUM_REQUIRE', () => {
  const version = (runtime: 'process' | 'docker') =>
    fill({ runtime, ...(runtime === 'docker' ? { code: { image: 'a:1' } } : {}) });

  it('names walls of the table, and nothing else', () => {
    const { REQUIRE } = readConfiguration({ PILUM_REQUIRE: ' sandbox, seccomp,freezer ' });
    expect(wallsNamed(REQUIRE ?? '')).toEqual(['sandbox', 'seccomp', 'freezer']);
    expect(wallsNamed(readConfiguration({}).REQUIRE ?? '')).toEqual([]);
    expect(wallsNamed(WALL_NAMES.join(','))).toEqual(WALL_NAMES);
    for (const wrong of ['sandbox;seccomp', 'sandboxes', 'sandbox,,seccomp', 'sandbox,none']) {
      expect(() => readConfiguration({ PILUM_REQUIRE: wrong })).toThrow(/PILUM_REQUIRE/);
    }
  });

  it('lets a worker run functions where all of them are in force', async () => {
    const runtime = processRuntime();
    const runtimes = available([runtime], WALL_NAMES.join(','));
    await runtimes.open();
    expect(runtimes.statuses).toMatchObject([{ available: true }]);
    expect(runtimes.require(version('process'))).toBe(runtime);
  });

  it('keeps a worker from starting where nothing that it has is behind all of them', async () => {
    const runtimes = available([processRuntime({ freezeAfterMs: 0 })], 'sandbox,freezer');
    await expect(runtimes.open()).rejects.toMatchObject({
      code: 'CONFIGURATION_INVALID',
      message: expect.stringMatching(/process.*freezer.*PILUM_FREEZE_AFTER_MS=0/),
    });
  });

  it('takes a runtime out of a worker that lacks one of them, and leaves the others', async () => {
    const docker = saying('docker', { freezer: 'containers are not paused', sandbox: null });
    const runtimes = available([processRuntime(), docker], 'sandbox,freezer');
    await runtimes.open();
    expect(runtimes.statuses).toMatchObject([
      { kind: 'process', available: true },
      { kind: 'docker', available: false, notes: [expect.stringContaining('containers are not paused'), 'a note'] },
    ]);
    expect(runtimes.canRun(version('docker'))).toBe(false);
    expect(() => runtimes.require(version('docker'))).toThrow(
      expect.objectContaining({ code: 'RUNTIME_UNAVAILABLE', message: expect.stringContaining('freezer') }),
    );
  });

  it('is not met by a runtime that says nothing of a wall', async () => {
    const runtimes = available([saying('wasm')], 'seccomp');
    await expect(runtimes.open()).rejects.toMatchObject({ code: 'CONFIGURATION_INVALID' });
    const willing = available([saying('wasm')], '');
    await willing.open();
    expect(willing.hasSome).toBe(true);
  });
});

describe('the line of npm run up about walls', () => {
  const worker = (walls: Record<string, string | null>, kind = RUNTIME_KINDS[0]) => ({
    runtimes: [{ kind: kind ?? '', available: true, walls }],
  });

  it('names what is missing once, by runtime, and is left out where nothing is', () => {
    expect(wallsLine([worker({ sandbox: null })])).toBe(null);
    expect(wallsLine([{ runtimes: [{ kind: 'wasm', available: false, walls: { sandbox: 'none' } }] }])).toBe(null);
    const one = worker({ sandbox: null, freezer: 'no', cpu: 'no' });
    expect(wallsLine([one, one, worker({ sockets: 'no' }, 'docker')])).toBe(
      'incomplete: process without freezer, cpu; docker without sockets (GET /v1/workers says why)',
    );
  });
});

it('one line names the interpreters, the default ones with their versions', () => {
  const interpreters = [
    { name: 'node22', version: '22.1.0' },
    { name: 'node26', version: '26.10.0', isDefault: true },
  ];
  const worker = { runtimes: [{ kind: 'process', available: true, interpreters }] };
  expect(interpretersLine([worker, worker])).toBe('node26 (26.10.0); where a spec names it (interpreter): node22');
  expect(interpretersLine([{ runtimes: [{ kind: 'process', available: false }] }])).toBe(null);
});
