import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { InstancePool } from '../../apps/worker/src/pool/instance-pool.ts';
import { waitFor } from '../support/wait-for.ts';
import { scriptedPool } from './support/scripted-runtime.ts';

const idsOf = (pool: InstancePool) => pool.idle().map(({ instanceId }) => instanceId);
const warm = async (pool: InstancePool, count: number) => {
  pool.keep(count);
  await waitFor(() => pool.idle().length === count, { what: `${count} idle instances` });
  return idsOf(pool);
};

describe('a round over the idle instances of a pool', () => {
  it('replaces those that are sick, and keeps the minimum', async () => {
    const { pool, runtime } = scriptedPool({});
    const [first = '', second = ''] = await warm(pool, 2);
    runtime.sick.add(first);
    await pool.lookAfterIdle();
    expect(idsOf(pool)).toHaveLength(2);
    expect(idsOf(pool)).toContain(second);
    expect(idsOf(pool)).not.toContain(first);
    await pool.close(0);
  });

  it('leaves nothing of a sick instance that no minimum asks for', async () => {
    const { pool, runtime } = scriptedPool({});
    const [id = ''] = await warm(pool, 1);
    pool.keep(0);
    runtime.sick.add(id);
    await pool.lookAfterIdle();
    expect(pool.size).toBe(0);
    expect(runtime.alive.size).toBe(0);
  });

  it('asks no more than eight of them at the same time', async () => {
    const { pool, runtime } = scriptedPool({ max: 30 });
    await warm(pool, 30);
    await pool.lookAfterIdle();
    expect(runtime.asked).toBe(30);
    expect(runtime.mostAskedAtOnce).toBe(8);
    await pool.close(0);
  });

  it('is over when the pool is closed, and none follows', async () => {
    const { pool, runtime } = scriptedPool({});
    const [id = ''] = await warm(pool, 1);
    const { promise, resolve } = Promise.withResolvers<void>();
    runtime.answering = promise;
    runtime.sick.add(id);
    const looking = pool.lookAfterIdle();
    const closing = pool.close(0);
    resolve();
    await Promise.all([looking, closing]);
    await pool.lookAfterIdle();
    expect(runtime.alive.size).toBe(0);
    expect(runtime.started).toBe(1);
  });
});

describe('with a clock of our own', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] }));
  afterEach(() => void vi.useRealTimers());

  it('an idle instance that is past its age is replaced in the same round', async () => {
    const { pool } = scriptedPool({ recycleAfterMs: 15_000 });
    pool.keep(1);
    await vi.advanceTimersByTimeAsync(0);
    const [id = ''] = idsOf(pool);
    await vi.advanceTimersByTimeAsync(14_000);
    expect(idsOf(pool)).toEqual([id]);
    await vi.advanceTimersByTimeAsync(8_000);
    expect(idsOf(pool)).toHaveLength(1);
    expect(idsOf(pool)).not.toContain(id);
    await pool.close(0);
  });

  it('a pool has one timer for its rounds, and none when its last instance has gone', async () => {
    const { pool } = scriptedPool({ max: 20 });
    pool.keep(20);
    await vi.advanceTimersByTimeAsync(0);
    // One for each idle time-out, and one for the rounds.
    expect(vi.getTimerCount()).toBe(21);
    pool.keep(0);
    await vi.advanceTimersByTimeAsync(80_000);
    expect(pool.size).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });
});
