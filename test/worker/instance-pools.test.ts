import type { Version } from '@pilum/core/schemas/artifact.ts';
import { pino } from 'pino';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { CodeCache } from '../../apps/worker/src/code/code-cache.ts';
import { InstancePools } from '../../apps/worker/src/pool/instance-pools.ts';
import { fill } from '../conformance/snapshots.ts';
import { waitFor } from '../support/wait-for.ts';
import { ScriptedRuntime } from './support/scripted-runtime.ts';

const never = new AbortController().signal;

let runtime: ScriptedRuntime;
let pools: InstancePools;
beforeEach(() => {
  runtime = new ScriptedRuntime();
  pools = new InstancePools({
    // None of these versions has code.
    codeCache: {} as CodeCache,
    layerCache: {} as CodeCache,
    runtimeFor: () => runtime,
    canRun: () => true,
    secretsOf: async () => null,
    admit: () => Promise.resolve(),
    killGraceMs: 0,
    capacity: { instances: 3, memoryMiB: 1024, cpu: 2 },
    onIdleGone: () => undefined,
    workerId: 'worker-1',
    logger: pino({ level: 'silent' }),
  });
});

const versionOf = (artifactId: string, limits: { memoryMiB?: number; cpu?: number } = {}): Version => ({
  ...fill({ runtime: 'process', entry: 'a.mjs', limits }),
  artifactId,
  code: null,
});

/** Runs a task of the version, as the runner does. */
async function run(version: Version): Promise<void> {
  await pools.with('a', version, async (pool) => {
    const lease = await pool.lease('task', never);
    await lease.done({ healthy: true, graceMs: 0 });
  });
  // The next one is used later, also by the clock.
  const now = Date.now();
  while (Date.now() === now) await new Promise((resolve) => setImmediate(resolve));
}

const present = () => pools.infos().map(({ artifactId }) => artifactId);

describe('the pools of a worker', () => {
  it('stop the idle instance that was used least recently where another pool needs its room', async () => {
    const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((id) => versionOf(id)) as [Version, Version, Version, Version];
    for (const version of [a, b, c, a]) await run(version);
    expect(present().sort()).toEqual(['a', 'b', 'c']);
    await run(d);
    expect(present().sort()).toEqual(['a', 'c', 'd']);
    await run(b);
    expect(present().sort()).toEqual(['a', 'b', 'd']);
    await pools.close(0);
  });

  it('stop what is kept warm last', async () => {
    const [kept, b, c, d] = ['kept', 'b', 'c', 'd'].map((id) => versionOf(id)) as [Version, Version, Version, Version];
    const until = new AbortController();
    const keeping = pools.keep('a', kept, 1, until.signal);
    await waitFor(() => present().length === 1, { what: 'the warm one' });
    for (const version of [b, c, d]) await run(version);
    expect(present().sort()).toEqual(['c', 'd', 'kept']);
    until.abort();
    await keeping;
    await pools.close(0);
  });

  it('have room for as many tasks as there are processors for, whoever has the instances', async () => {
    const [one, half] = [versionOf('one'), versionOf('half', { cpu: 0.5 })];
    const [oneMay, halfMay] = [vi.fn(), vi.fn()];
    expect(pools.hasRoom('a', one, oneMay)).toBe(true);
    pools.claim(one, 'a', one, 1);
    pools.claim(half, 'a', half, 2);
    expect(pools.inUse.cpu).toBe(2);
    expect(pools.hasRoom('a', half, halfMay)).toBe(false);
    expect(pools.hasRoom('a', one, oneMay)).toBe(false);
    pools.claim(half, 'a', half, 1);
    expect([halfMay.mock.calls.length, oneMay.mock.calls.length]).toEqual([1, 0]);
    expect(pools.hasRoom('a', half, halfMay)).toBe(true);
    pools.claim(half, 'a', half, 2);
    pools.leaveLine(halfMay);
    await Promise.resolve();
    expect(oneMay, 'it is next').toHaveBeenCalledOnce();
  });

  it('count idle instances of others as room, and not those that tasks are to have', async () => {
    const [idle, large] = [versionOf('idle', { memoryMiB: 512 }), versionOf('large', { memoryMiB: 768, cpu: 0.5 })];
    await run(idle);
    expect(pools.inUse.memoryMiB).toBe(512);
    expect(pools.hasRoom('a', large, vi.fn())).toBe(true);
    // Its task has been taken, and is about to lease the one that is idle.
    pools.claim(idle, 'a', idle, 1);
    expect(pools.hasRoom('a', large, vi.fn())).toBe(false);
    expect(pools.isOverfull).toBe(false);
    pools.claim(large, 'a', large, 1);
    expect(pools.isOverfull).toBe(true);
    await pools.close(0);
  });

  it('cannot hold what is larger than all of it', () => {
    expect(pools.canHold(versionOf('as-large', { cpu: 2, memoryMiB: 1024 }))).toBe(true);
    expect(pools.canHold(versionOf('too-fast', { cpu: 2.05 }))).toBe(false);
    expect(pools.canHold(versionOf('too-wide', { memoryMiB: 1025 }))).toBe(false);
  });
});
