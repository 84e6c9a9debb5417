import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type CapacityUse, fits, totalOf } from '../../apps/worker/src/capacity/capacity.ts';

const use = (changes: Partial<CapacityUse>): CapacityUse => ({
  tasks: 0,
  busy: 0,
  idle: 0,
  leaving: 0,
  memoryMiB: 100,
  cpu: 1,
  ...changes,
});

describe('what tasks and instances use', () => {
  it('is the processors of tasks, and the memory of instances', () => {
    expect(totalOf([use({ tasks: 2, busy: 2, idle: 3 })], 'kept')).toEqual({ instances: 5, memoryMiB: 500, cpu: 2 });
  });

  it('counts a task that has no instance yet, and an idle one that could have it only once', () => {
    expect(totalOf([use({ tasks: 2, busy: 1 })], 'kept').instances).toBe(2);
    expect(totalOf([use({ tasks: 2, busy: 1, idle: 1 })], 'kept').instances).toBe(2);
    expect(totalOf([use({ tasks: 2, busy: 1, idle: 3 })], 'kept').instances).toBe(4);
    expect(totalOf([use({ tasks: 2, busy: 1, idle: 3 })], 'stopped').instances).toBe(2);
  });

  it('counts an instance until it is gone', () => {
    expect(totalOf([use({ tasks: 1, busy: 1, leaving: 1 })], 'stopped').memoryMiB).toBe(200);
  });

  it('is never less with idle instances than without, and grows with each task', () => {
    const count = fc.integer({ min: 0, max: 5 });
    const uses = fc.array(
      fc.record({ tasks: count, busy: count, idle: count, leaving: count, memoryMiB: count, cpu: fc.constant(0.1) }),
    );
    fc.assert(
      fc.property(uses, (all) => {
        const [kept, stopped] = [totalOf(all, 'kept'), totalOf(all, 'stopped')];
        expect(fits(stopped, kept)).toBe(true);
        const more = totalOf([...all, use({ tasks: 1 })], 'stopped');
        expect(more.cpu).toBeGreaterThan(stopped.cpu);
        expect(more.memoryMiB).toBe(stopped.memoryMiB + 100);
      }),
    );
  });

  it('fits where it comes to just as much, also in fractions of a processor', () => {
    const capacity = { instances: 10, memoryMiB: 1000, cpu: 1 };
    const tenths = totalOf([use({ tasks: 3, cpu: 0.1 }), use({ tasks: 7, cpu: 0.1 })], 'kept');
    expect(fits(tenths, capacity)).toBe(true);
    expect(fits({ ...tenths, cpu: 1.05 }, capacity)).toBe(false);
    expect(fits({ ...tenths, memoryMiB: 1001 }, capacity)).toBe(false);
    expect(fits({ ...tenths, instances: 11 }, capacity)).toBe(false);
  });
});
