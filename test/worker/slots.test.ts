import { describe, expect, it } from 'vitest';
import { Slots, type SlotTaker } from '../../apps/worker/src/slots/slots.ts';

const taker = (): SlotTaker & { woken: number } => ({
  woken: 0,
  wake() {
    this.woken++;
  },
});

describe('slots', () => {
  it('hands out as many as there are, and a free one to who has waited longest', () => {
    const slots = new Slots(2);
    const [a, b, c] = [taker(), taker(), taker()];
    expect(slots.tryTake(a)).toBe(true);
    expect(slots.tryTake(a)).toBe(true);
    expect(slots.tryTake(b)).toBe(false);
    expect(slots.tryTake(c)).toBe(false);
    expect(slots.othersWait(a)).toBe(true);
    slots.release();
    expect([b.woken, c.woken]).toEqual([1, 0]);
    expect(slots.tryTake(a)).toBe(false); // b is first
    expect(slots.tryTake(b)).toBe(true);
  });

  it('does not hold a slot for one who found nothing to run', () => {
    const slots = new Slots(1);
    const [a, b, c] = [taker(), taker(), taker()];
    slots.tryTake(a);
    slots.tryTake(b);
    slots.tryTake(c);
    slots.release();
    slots.leave(b);
    expect(c.woken).toBe(1);
    expect(slots.tryTake(c)).toBe(true);
  });

  it('passes a slot on that is given back untouched', () => {
    const slots = new Slots(1);
    const [a, b] = [taker(), taker()];
    slots.tryTake(a);
    slots.tryTake(b);
    slots.release();
    expect(slots.tryTake(b)).toBe(true);
    slots.release();
    expect(slots.taken).toBe(0);
    expect(slots.othersWait(a)).toBe(false);
  });
});
