import { IllegalTransition } from '@pilum/core/states/transition-table.ts';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { scriptedPool } from './support/scripted-runtime.ts';

const never = new AbortController().signal;
const well = { healthy: true, graceMs: 0 };

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] }));
afterEach(() => void vi.useRealTimers());

describe('a pool', () => {
  it('stops what was idle for its idle time-out, down to its minimum', async () => {
    const { pool } = scriptedPool({ idleTimeoutMs: 3000 });
    const leases = await Promise.all([1, 2, 3].map((task) => pool.lease(`task-${task}`, never)));
    pool.keep(1);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(pool.size, 'those that run a task').toBe(3);
    for (const lease of leases) await lease.done(well);
    await vi.advanceTimersByTimeAsync(2999);
    expect(pool.size).toBe(3);
    await vi.advanceTimersByTimeAsync(1);
    expect(pool.size).toBe(1);
    pool.keep(0);
    await vi.advanceTimersByTimeAsync(3000);
    expect(pool.size).toBe(0);
  });

  it('replaces an instance after so many tasks', async () => {
    const { pool } = scriptedPool({ recycleAfterTasks: 2 });
    const used: string[] = [];
    for (let i = 0; i < 4; i++) {
      const lease = await pool.lease('task', never);
      await lease.instance.call({} as never).catch(() => undefined);
      used.push(lease.instance.instanceId);
      await lease.done(well);
    }
    expect(used[0]).toBe(used[1]);
    expect(used[2]).toBe(used[3]);
    expect(used[0]).not.toBe(used[2]);
    await pool.close(0);
  });

  it('replaces an instance that has reached its age when its task ends', async () => {
    const { pool } = scriptedPool({ recycleAfterMs: 5000 });
    const lease = await pool.lease('task', never);
    await vi.advanceTimersByTimeAsync(20_000);
    expect(lease.instance.state, 'not under its task').toBe('running');
    await lease.done(well);
    expect(lease.instance.state).toBe('terminated');
    expect(pool.size).toBe(0);
  });

  it('makes a task wait for an instance where it has as many as it may, and no longer than the task would', async () => {
    const { pool } = scriptedPool({ max: 1 });
    const first = await pool.lease('first', never);
    const patience = new AbortController();
    const second = pool.lease('second', patience.signal);
    const third = pool.lease('third', never);
    patience.abort(new Error('enough'));
    await expect(second).rejects.toThrow('enough');
    await first.done(well);
    expect((await third).instance).toBe(first.instance);
    expect((await third).cold).toBe(false);
    await pool.close(0);
  });
});

describe('an instance', () => {
  it('throws at a transition that is not in its table', async () => {
    const { pool } = scriptedPool({});
    const { instance, done } = await pool.lease('task', never);
    expect(() => instance.lease('another')).toThrow(IllegalTransition);
    await done(well);
    expect(() => instance.release('task')).toThrow(IllegalTransition);
    await pool.close(0);
    for (const act of [() => instance.lease('late'), () => instance.release('late'), () => instance.failed()]) {
      expect(act).toThrow(IllegalTransition);
    }
    expect(instance.state).toBe('terminated');
  });
});

describe('a pool whose instances serve several tasks at a time', () => {
  it('fills one before it starts another, also while the first is being started', async () => {
    const { pool, runtime } = scriptedPool({ concurrency: 3, max: 2 });
    const leases = await Promise.all([1, 2, 3, 4, 5, 6].map((task) => pool.lease(`task-${task}`, never)));
    expect(runtime.started).toBe(2);
    const used = leases.map(({ instance }) => instance);
    expect(new Set(used).size).toBe(2);
    expect(used.map(({ tasksNow }) => tasksNow)).toEqual([3, 3, 3, 3, 3, 3]);
    const seventh = pool.lease('task-7', never);
    leases[0]?.done(well);
    expect((await seventh).instance).toBe(leases[0]?.instance);
    await pool.close(0);
  });

  it('lets one that is not well end with the last of its tasks, and gives it no more', async () => {
    const { pool, runtime } = scriptedPool({ concurrency: 2 });
    const [first, second] = await Promise.all([pool.lease('first', never), pool.lease('second', never)]);
    expect(first.instance).toBe(second.instance);
    expect(first.done({ healthy: false, graceMs: 0 })).toBeNull();
    expect(first.instance.state).toBe('running');
    const third = await pool.lease('third', never);
    expect(third.instance).not.toBe(first.instance);
    await second.done(well);
    expect(second.instance.state).toBe('terminated');
    await third.done(well);
    expect([pool.size, runtime.alive.size]).toEqual([1, 1]);
    await pool.close(0);
  });

  it('lets those who wait try by themselves where the start that they waited for has failed', async () => {
    const { pool, runtime } = scriptedPool({ concurrency: 4 });
    runtime.failNext = true;
    const leases = await Promise.allSettled([1, 2, 3].map((task) => pool.lease(`task-${task}`, never)));
    expect(leases.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    await pool.close(0);
  });

  it('has an instance that ends under its tasks fail each of them, and forgets it', async () => {
    const { pool, runtime } = scriptedPool({ concurrency: 2 });
    const leases = await Promise.all([pool.lease('first', never), pool.lease('second', never)]);
    for (const end of runtime.alive.values()) end();
    await vi.waitFor(() => expect(pool.size).toBe(0));
    for (const lease of leases) await lease.done({ healthy: false, graceMs: 0 });
    expect(pool.size).toBe(0);
    expect((await pool.lease('third', never)).cold).toBe(true);
    await pool.close(0);
  });

  it('starts nothing of a version whose texts an earlier release has not refused', async () => {
    for (const spec of [{ env: { A: 'x\0--bind\0/\0/tmp' } }, { command: ['sh', 'a\0b'] }, { entry: 'a\n/../../b' }]) {
      const { pool, runtime } = scriptedPool({}, undefined, spec);
      await expect(pool.lease('task', never)).rejects.toMatchObject({
        code: 'INSTANCE_START_FAILED',
        message: expect.stringMatching(/\/spec\/(env\/A|command\/1|entry) /),
      });
      expect(runtime.started).toBe(0);
      await pool.close(0);
    }
  });
});
