import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Slots, type SlotTaker } from '../../apps/worker/src/slots/slots.ts';

let number = 0;
const taker = (artifact = `artifact-${number++}`): SlotTaker & { woken: number } => ({
  artifact,
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
    expect(slots.shouldYield(a)).toBe(true);
    slots.release(a);
    expect([b.woken, c.woken]).toEqual([1, 0]);
    expect(slots.tryTake(a)).toBe(false); // b is first
    expect(slots.tryTake(c)).toBe(false);
    expect(slots.tryTake(b)).toBe(true);
  });

  it('does not hold a slot for one who found nothing to run', () => {
    const slots = new Slots(1);
    const [a, b, c] = [taker(), taker(), taker()];
    slots.tryTake(a);
    slots.tryTake(b);
    slots.tryTake(c);
    slots.release(a);
    slots.leave(b);
    expect(c.woken).toBe(1);
    expect(slots.tryTake(c)).toBe(true);
  });

  it('passes a slot on that is given back untouched', () => {
    const slots = new Slots(1);
    const [a, b] = [taker(), taker()];
    slots.tryTake(a);
    slots.tryTake(b);
    slots.release(a);
    expect(slots.tryTake(b)).toBe(true);
    slots.release(b);
    expect(slots.taken).toBe(0);
    expect(slots.shouldYield(a)).toBe(false);
  });

  it('keeps what is reserved, and one slot for what has no reservation', () => {
    const slots = new Slots(3);
    const [vip, other] = [taker('vip'), taker('other')];
    slots.setShare('vip', { weight: 1, reserved: 2 });
    expect(slots.tryTake(other)).toBe(true);
    expect(slots.tryTake(other)).toBe(false);
    expect(slots.tryTake(vip)).toBe(true);
    expect(slots.tryTake(vip)).toBe(true);
    expect(slots.tryTake(vip)).toBe(false);
    slots.release(vip);
    // Kept for vip, although other waited longer.
    expect(slots.tryTake(other)).toBe(false);
    slots.setShare('vip');
    expect(other.woken).toBeGreaterThan(0);
    expect(slots.tryTake(other)).toBe(true);

    const all = new Slots(2);
    all.setShare('vip', { weight: 1, reserved: 9 });
    expect(all.tryTake(other)).toBe(true);
    expect(all.tryTake(other)).toBe(false);
    expect(all.tryTake(vip)).toBe(true);
  });

  /** Runs tasks of artifacts that always have more to do, one after the other, and counts whose they were. */
  function serve(slots: Slots, takers: readonly SlotTaker[], tasks: number): Map<string, number> {
    const counts = new Map(takers.map(({ artifact }) => [artifact, 0]));
    const holding: SlotTaker[] = [];
    const fill = () => {
      for (let progress = true; progress; ) {
        progress = false;
        for (const one of takers) {
          if (!slots.tryTake(one)) continue;
          holding.push(one);
          counts.set(one.artifact, (counts.get(one.artifact) ?? 0) + 1);
          progress = true;
        }
      }
    };
    fill();
    for (let i = 0; i < tasks; i++) {
      const done = holding.shift();
      if (done === undefined) throw new Error('nobody has a slot');
      if (slots.shouldYield(done)) {
        slots.tryTake(done); // in line before the slot is free
        slots.release(done);
        fill();
      } else {
        holding.push(done);
        counts.set(done.artifact, (counts.get(done.artifact) ?? 0) + 1);
      }
    }
    return counts;
  }

  it('are shared by weight among those who always have work', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 8 }),
        fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 2, maxLength: 5 }),
        (capacity, weights) => {
          const slots = new Slots(capacity);
          const takers = weights.map((weight, i) => {
            slots.setShare(`a${i}`, { weight, reserved: 0 });
            return taker(`a${i}`);
          });
          const rounds = 200;
          const sum = weights.reduce((a, b) => a + b, 0);
          const counts = serve(slots, takers, rounds * sum);
          for (const [i, weight] of weights.entries()) {
            const share = (counts.get(`a${i}`) ?? 0) / (rounds * sum);
            expect(Math.abs(share - weight / sum), `${weights} on ${capacity}`).toBeLessThan(0.05);
          }
        },
      ),
      { numRuns: 50 },
    );
  });
});
