// The state machine of instances, as a pool drives it: random leases, ends, deaths, sicknesses, evictions and
// failing starts.

import { InstanceError } from '@pilum/core/errors/pilum-error.ts';
import { INSTANCE_TRANSITIONS, type InstanceState } from '@pilum/core/states/states.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { InstancePool, Lease } from '../../apps/worker/src/pool/instance-pool.ts';
import { type ScriptedRuntime, scriptedPool } from './support/scripted-runtime.ts';

const never = new AbortController().signal;

interface Model {
  leases: number;
  /** A start has failed, and its pause may still last. */
  backsOff: boolean;
}
interface Real {
  readonly pool: InstancePool;
  readonly runtime: ScriptedRuntime;
  readonly leases: Lease[];
  readonly seen: Map<string, InstanceState>;
  readonly max: number;
}
type Step = fc.AsyncCommand<Model, Real>;

const settle = () => new Promise((resolve) => setImmediate(resolve));

function step(name: string, run: (model: Model, real: Real) => Promise<void>): Step {
  return {
    check: () => true,
    run: async (model, real) => {
      await run(model, real);
      await settle();
      compare(model, real);
    },
    toString: () => name,
  };
}

/** States that can be reached from one, itself included, by any number of transitions. */
function reachable(from: InstanceState): Set<InstanceState> {
  const found = new Set([from]);
  for (const state of found) for (const next of INSTANCE_TRANSITIONS[state]) found.add(next);
  return found;
}

function compare({ leases: expected }: Model, { pool, runtime, leases, seen, max }: Real): void {
  expect(pool.size).toBeLessThanOrEqual(max);
  expect(leases).toHaveLength(expected);
  for (const { instance } of leases)
    expect(['running', 'failed', 'terminating', 'terminated']).toContain(instance.state);
  const running = [...pool.instances].filter(({ state }) => state === 'running');
  expect(new Set(leases.map(({ instance }) => instance)).size, 'an instance serves one task').toBe(leases.length);
  expect(running.length).toBeLessThanOrEqual(leases.length);
  for (const instance of pool.instances) {
    expect(runtime.alive.has(instance.instanceId), 'what the pool has is alive').toBe(true);
    const before = seen.get(instance.instanceId) ?? 'creating';
    expect(reachable(before)).toContain(instance.state);
    seen.set(instance.instanceId, instance.state);
  }
}

const pick = <T>(list: readonly T[], index: number): T | undefined =>
  list.length === 0 ? undefined : list[index % list.length];

const leasing = fc.constant(
  step('lease', async (model, { pool, leases, max }) => {
    if (leases.length >= max) return; // it would wait, as it should
    try {
      leases.push(await pool.lease('task', never));
      model.leases++;
    } catch (error) {
      expect(model.backsOff && error instanceof InstanceError && error.code === 'INSTANCE_START_FAILED').toBe(true);
    }
  }),
);
const failingStart = fc.constant(
  step('lease with a start that fails', async (model, { pool, runtime, leases, max }) => {
    if (pool.idle().length > 0 || leases.length >= max || model.backsOff) return;
    runtime.failNext = true;
    await expect(pool.lease('task', never)).rejects.toThrow(InstanceError);
    // The back-off stands now: nothing is started until its pause is over.
    await expect(pool.lease('task', never)).rejects.toThrow(InstanceError);
    expect(runtime.failNext).toBe(false);
    model.backsOff = true;
  }),
);
const ending = fc.record({ index: fc.nat(), healthy: fc.boolean() }).map(({ index, healthy }) =>
  step(`end a task ${healthy ? 'well' : 'badly'}`, async (model, { leases }) => {
    const lease = pick(leases, index);
    if (lease === undefined) return;
    const was = lease.instance.state;
    await lease.done({ healthy, graceMs: 0 });
    expect(lease.instance.state).toBe(was !== 'running' ? was : healthy ? 'ready' : 'terminated');
    leases.splice(leases.indexOf(lease), 1);
    model.leases--;
  }),
);
const dying = fc.nat().map((index) =>
  step('an instance dies', async (_model, { pool, runtime }) => {
    const instance = pick([...pool.instances], index);
    if (instance === undefined) return;
    runtime.alive.get(instance.instanceId)?.();
    await settle();
    expect(instance.state).toBe('failed');
  }),
);
const evicting = fc.nat().map((index) =>
  step('evict an idle one', async (_model, { pool }) => {
    const instance = pick(pool.idle(), index);
    if (instance === undefined) return;
    await pool.evict(instance);
    expect(instance.state).toBe('terminated');
  }),
);
const fallingSick = fc.nat().map((index) =>
  step('an instance falls sick', async (_model, { pool, runtime }) => {
    const instance = pick([...pool.instances], index);
    if (instance !== undefined) runtime.sick.add(instance.instanceId);
  }),
);
const lookingAfter = fc.constant(
  step('look after the idle ones', async (_model, { pool, runtime, leases }) => {
    const before = leases.map(({ instance }) => instance.state);
    const idle = pool.idle();
    const sick = idle.filter(({ instanceId }) => runtime.sick.has(instanceId));
    await pool.lookAfterIdle();
    for (const instance of idle) expect(instance.state).toBe(sick.includes(instance) ? 'terminated' : 'ready');
    expect(
      leases.map(({ instance }) => instance.state),
      'what runs a task is left alone',
    ).toEqual(before);
  }),
);
const leasingUnderAsk = fc.constant(
  step('lease while the idle ones are being asked', async (model, { pool, runtime, leases }) => {
    if (pool.idle().length === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    runtime.answering = promise;
    const looking = pool.lookAfterIdle();
    const lease = await pool.lease('task', never);
    leases.push(lease);
    model.leases++;
    resolve();
    await looking;
    expect(lease.instance.state, 'an answer that comes late stops no task').toBe('running');
  }),
);

describe('instances', () => {
  it('keep to their state machine, whatever happens to them', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 4 }),
        fc.commands(
          [
            ...[leasing, leasing, leasing, leasingUnderAsk, failingStart, ending, ending],
            ...[dying, fallingSick, evicting, lookingAfter],
          ],
          { maxCommands: 60, size: 'max' },
        ),
        async (max, steps) => {
          const { pool, runtime } = scriptedPool({ max });
          const real: Real = { pool, runtime, leases: [], seen: new Map(), max };
          try {
            await fc.asyncModelRun(() => ({ model: { leases: 0, backsOff: false }, real }), steps);
          } finally {
            await pool.close(0);
          }
          expect(runtime.alive.size, 'nothing is left').toBe(0);
        },
      ),
      { numRuns: 300 },
    );
  });
});
