import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AdmissionQueue, HOLD_MS } from '../../apps/worker/src/capacity/admission-queue.ts';

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }));
afterEach(() => void vi.useRealTimers());

const microtasks = () => Promise.resolve();

describe('the line of those who wait for room', () => {
  it('lets nobody pass the first one', async () => {
    const line = new AdmissionQueue();
    const [a, b] = [vi.fn(), vi.fn()];
    expect(line.isHeldUp(a)).toBe(false);
    line.join(a);
    line.join(b);
    line.join(a); // and keeps its place
    expect([line.isHeldUp(a), line.isHeldUp(b), line.isHeldUp(vi.fn())]).toEqual([false, true, true]);
    line.wake();
    expect([a.mock.calls.length, b.mock.calls.length]).toEqual([1, 0]);
    line.leave(a);
    await microtasks();
    expect(b).toHaveBeenCalledOnce();
    expect(line.isHeldUp(b)).toBe(false);
  });

  it('lets the others pass a first one that waits for long, and holds them up for the next', async () => {
    const line = new AdmissionQueue();
    const [large, small] = [vi.fn(), vi.fn()];
    line.join(large);
    line.join(small);
    vi.advanceTimersByTime(HOLD_MS - 1);
    expect(small).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(line.isHeldUp(small)).toBe(false);
    expect([large.mock.calls.length, small.mock.calls.length]).toEqual([1, 1]);
    line.leave(small);
    line.join(small);
    await microtasks();
    line.leave(large);
    line.join(large);
    expect(line.isHeldUp(large)).toBe(true);
  });

  it('knows whether others wait', () => {
    const line = new AdmissionQueue();
    const [a, b] = [vi.fn(), vi.fn()];
    expect(line.hasOther(a)).toBe(false);
    line.join(a);
    expect([line.hasOther(a), line.hasOther(b)]).toEqual([false, true]);
    line.join(b);
    expect(line.hasOther(a)).toBe(true);
  });

  it('has no timer when nobody waits', () => {
    const line = new AdmissionQueue();
    const a = vi.fn();
    line.join(a);
    line.leave(a);
    expect(vi.getTimerCount()).toBe(0);
  });
});
