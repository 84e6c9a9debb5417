import { describe, expect, it } from 'vitest';
import { FrameWindow, LogWindow } from '../../../apps/worker/src/output/kept-window.ts';

describe('the window of a task’s frames', () => {
  it('lets go of what is beyond its bytes, and never of what is within', () => {
    const window = new FrameWindow({ frames: 1_000_000, bytes: 100_000 });
    let kept = 1;
    for (let last = 1; last <= 10_000; last++) {
      const trimBelow = window.add({ last, bytes: last * 100 });
      if (trimBelow > 0) {
        expect(trimBelow).toBeGreaterThan(kept);
        kept = trimBelow;
      }
      // Frames of 100 bytes each: a thousand of them are within.
      expect(last - kept + 1).toBeGreaterThanOrEqual(Math.min(last, 1000));
      expect(last - kept + 1).toBeLessThan(1000 + 50);
    }
  });

  it('lets go of what is beyond its number', () => {
    const window = new FrameWindow({ frames: 10, bytes: 1_000_000 });
    const trims = Array.from({ length: 30 }, (_, i) => window.add({ last: i + 1, bytes: i + 1 }));
    expect(trims.slice(0, 10)).toEqual(Array(10).fill(0));
    expect(trims.at(-1)).toBe(20);
  });

  it('keeps a single batch that is larger than itself', () => {
    const window = new FrameWindow({ frames: 10, bytes: 10 });
    expect(window.add({ last: 100, bytes: 5000 })).toBe(0);
    expect(window.add({ last: 200, bytes: 10_000 })).toBe(101);
  });
});

describe('the window of a task’s log', () => {
  it('lets go of the oldest batches, and keeps the newest whatever its size', () => {
    const window = new LogWindow(100);
    expect([60, 40, 1, 200, 10].map((size) => window.add(size))).toEqual([0, 0, 1, 2, 1]);
  });
});
