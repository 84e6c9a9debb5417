import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { HeldBytes, HoldBudget } from '../../../apps/worker/src/runtimes/contract/held-bytes.ts';
import { FRAME_TYPES, FrameReader, frameHead } from '../../../apps/worker/src/runtimes/protocols/handler/frames.ts';

const neverEvicted = () => {
  throw new Error('evicted');
};

describe('what a function has begun to send', () => {
  test('comes out as it came in, and is never held in more than twice its size', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 5000 })), (pieces) => {
        const budget = new HoldBudget({ budgetBytes: 1e9, mostBytes: 1e9 });
        const held = new HeldBytes(neverEvicted, budget);
        for (const piece of pieces) {
          held.push(Buffer.from(piece));
          expect(budget.heldBytes).toBeLessThanOrEqual(Math.max(4096, 2 * held.length));
        }
        expect(held.take()).toEqual(Buffer.concat(pieces));
        expect(budget.heldBytes).toBe(0);
      }),
    );
  });

  test('takes no more than what it will be, where that is known', () => {
    const budget = new HoldBudget({ budgetBytes: 1e9, mostBytes: 1e9 });
    const held = new HeldBytes(neverEvicted, budget);
    for (let i = 0; i < 100; i++) held.push(Buffer.alloc(1000), 100_000);
    expect(budget.heldBytes).toBe(100_000);
  });

  test('goes where all of it is too much, if it has stopped in the middle', () => {
    const evicted: string[] = [];
    let nowMs = 0;
    const budget = new HoldBudget({ budgetBytes: 500_000, mostBytes: 5_000_000 }, () => nowMs);
    const holder = (name: string) => new HeldBytes(() => evicted.push(name), budget);
    const [stalled, slow, quick] = [holder('stalled'), holder('slow'), holder('quick')];
    slow.push(Buffer.alloc(200_000));
    stalled.push(Buffer.alloc(200_000));
    quick.push(Buffer.alloc(400_000));
    // All of them have just sent something: nobody pays for another.
    expect(evicted).toEqual([]);
    nowMs = 900;
    slow.push(Buffer.alloc(100_000));
    nowMs = 1100;
    quick.push(Buffer.alloc(100_000));
    expect(evicted).toEqual(['stalled']);
    expect(stalled.length).toBe(0);
    // A byte now and then is no progress.
    nowMs = 1800;
    slow.push(Buffer.alloc(1));
    nowMs = 2000;
    quick.push(Buffer.alloc(400_000));
    expect(evicted).toEqual(['stalled', 'slow']);
    expect(quick.take().length).toBe(900_000);
    expect(budget.heldBytes).toBe(0);
  });

  test('goes in the order in which it stood still, where even what goes on is too much', () => {
    const evicted: string[] = [];
    const budget = new HoldBudget({ budgetBytes: 500_000, mostBytes: 900_000 }, () => 0);
    const holder = (name: string) => new HeldBytes(() => evicted.push(name), budget);
    const [first, second, third] = [holder('first'), holder('second'), holder('third')];
    first.push(Buffer.alloc(300_000));
    second.push(Buffer.alloc(300_000));
    first.push(Buffer.alloc(100_000));
    third.push(Buffer.alloc(300_000));
    expect(evicted).toEqual(['second']);
  });

  test('is told to go where it alone is too much', () => {
    let isEvicted = false;
    const held = new HeldBytes(
      () => {
        isEvicted = true;
      },
      new HoldBudget({ budgetBytes: 5000, mostBytes: 5000 }),
    );
    held.push(Buffer.alloc(10_000));
    expect(isEvicted).toBe(true);
    held.drop();
    held.drop();
  });

  test('is half a frame that came byte by byte, and then a whole one', () => {
    const reader = new FrameReader(() => 100_000, neverEvicted);
    const wire = Buffer.concat([frameHead(FRAME_TYPES.RESULT, { id: 1 }, 50_000), Buffer.alloc(50_000, 7)]);
    const frames = [];
    for (let at = 0; at < wire.length; at++) frames.push(...reader.push(wire.subarray(at, at + 1)));
    expect(frames).toMatchObject([{ type: FRAME_TYPES.RESULT, payload: Buffer.alloc(50_000, 7) }]);
    reader.close();
  });
});
