import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type SlotOffer, Slots, type SlotTaker } from '../../apps/worker/src/slots/slots.ts';

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

/** An offer that counts how often it is asked for. */
const offerOf = ({ artifact }: SlotTaker): SlotOffer & { recalls: number } => ({
  artifact,
  recalls: 0,
  recall() {
    this.recalls++;
  },
});

describe('a slot that is offered', () => {
  it('is in use until it is taken back, but runs nothing', () => {
    const slots = new Slots(1);
    const [a, b] = [taker(), taker()];
    expect(slots.tryTake(a)).toBe(true);
    const offer = offerOf(a);
    slots.offer(offer);
    expect(slots.taken).toBe(0);
    expect(slots.tryTake(b)).toBe(false);
    expect(offer.recalls).toBe(1);
    slots.takeBack(offer);
    expect(b.woken).toBe(1);
    expect(slots.tryTake(b)).toBe(true);
    expect(slots.taken).toBe(1);
    slots.takeBack(offer); // again: nothing
    slots.use(offer);
    slots.keep(offer);
    expect(slots.taken).toBe(1);
  });

  it('is taken again when its task comes, and then another is asked for', () => {
    const slots = new Slots(2);
    const [a, b] = [taker(), taker()];
    const [first, second] = [offerOf(a), offerOf(a)];
    for (const offer of [first, second]) {
      slots.tryTake(a);
      slots.offer(offer);
    }
    expect(slots.tryTake(b)).toBe(false);
    expect([first.recalls, second.recalls]).toEqual([1, 0]);
    slots.use(first);
    expect(slots.taken).toBe(1);
    expect([first.recalls, second.recalls]).toEqual([1, 1]);
    slots.takeBack(second);
    expect(slots.tryTake(b)).toBe(true);
  });

  it('is asked for as soon as it is made where somebody is in line', () => {
    const slots = new Slots(1);
    const [a, b] = [taker(), taker()];
    slots.tryTake(a);
    slots.tryTake(b);
    const offer = offerOf(a);
    slots.offer(offer);
    expect(offer.recalls).toBe(1);
  });

  it('is asked for again where Redis did not hear of it', () => {
    const slots = new Slots(1);
    const [a, b] = [taker(), taker()];
    slots.tryTake(a);
    const offer = offerOf(a);
    slots.offer(offer);
    slots.tryTake(b);
    slots.tryTake(b);
    expect(offer.recalls).toBe(1); // it is under way
    slots.keep(offer);
    slots.tryTake(b);
    expect(offer.recalls).toBe(2);
  });

  it('stays with an artifact that it is reserved for, and the rest is asked for', () => {
    const slots = new Slots(3);
    const [vip, other, more] = [taker('vip'), taker('other'), taker('more')];
    slots.setShare('vip', { weight: 1, reserved: 1 });
    const offers = [vip, other, vip].map((one) => {
      expect(slots.tryTake(one)).toBe(true);
      const offer = offerOf(one);
      slots.offer(offer);
      return offer;
    });
    // Two of vip, one of them reserved: whichever is older may go.
    expect(slots.tryTake(more)).toBe(false);
    expect(offers.map(({ recalls }) => recalls)).toEqual([1, 0, 0]);
    slots.takeBack(offers[0]!);
    expect(slots.tryTake(more)).toBe(true);
    expect(slots.tryTake(more)).toBe(false);
    expect(offers.map(({ recalls }) => recalls)).toEqual([1, 1, 0]);
    slots.takeBack(offers[1]!);
    expect(slots.tryTake(more)).toBe(true);
    expect(slots.tryTake(more)).toBe(false);
    expect(offers.map(({ recalls }) => recalls)).toEqual([1, 1, 0]);
  });
});

it('several slots that are freed at once go to several who wait', () => {
  const slots = new Slots(2);
  const [a, b, c] = [taker(), taker(), taker()];
  slots.tryTake(a);
  slots.tryTake(a);
  slots.tryTake(b);
  slots.tryTake(c);
  slots.release(a);
  slots.release(a);
  expect(slots.tryTake(b)).toBe(true);
  slots.leave(b); // it has room for one only
  expect(c.woken).toBe(1);
});

it('who finds that another is to have a free slot tells that one', () => {
  const slots = new Slots(2);
  const [a, b] = [taker('a'), taker('b')];
  slots.tryTake(a);
  slots.tryTake(a);
  slots.tryTake(b); // in line
  slots.release(a);
  const woken = b.woken;
  expect(slots.tryTake(a)).toBe(false);
  expect(b.woken).toBe(woken + 1);
});

describe('slots and offers', () => {
  it('are never more than there are, and nobody waits for what is free or could be', () => {
    /** As an attachment: it takes slots while it has work, ends tasks, and offers a slot where there is no more. */
    class Part implements SlotTaker {
      readonly artifact: string;
      readonly slots: Slots;
      readonly offers: (SlotOffer & { isAsked: boolean })[] = [];
      work = 0;
      running = 0;
      /** It is to look again, at its next turn. */
      isAwake = false;
      isWaiting = false;

      constructor(artifact: string, slots: Slots) {
        this.artifact = artifact;
        this.slots = slots;
      }

      wake(): void {
        this.isAwake = true;
      }

      look(): void {
        this.isAwake = false;
        this.isWaiting = false;
        for (const offer of this.offers.splice(0)) this.slots.takeBack(offer);
        for (;;) {
          if (!this.slots.tryTake(this)) {
            this.isWaiting = true;
            return;
          }
          if (this.work === 0) {
            this.slots.release(this);
            return;
          }
          this.work--;
          this.running++;
        }
      }

      end(): void {
        if (this.running === 0) return;
        const yields = this.slots.shouldYield(this);
        if (!yields && this.work > 0) {
          this.work--;
          return;
        }
        this.running--;
        if (yields) {
          this.slots.release(this);
          this.wake();
          return;
        }
        const offer = {
          artifact: this.artifact,
          isAsked: false,
          recall() {
            this.isAsked = true;
          },
        };
        this.offers.push(offer);
        this.slots.offer(offer);
      }

      /** The latest offer is taken for a task. */
      use(): void {
        const offer = this.offers.pop();
        if (offer === undefined) return;
        this.slots.use(offer);
        this.running++;
      }

      /** What was asked for is given back, or Redis did not hear. */
      answer(heard: boolean): void {
        for (const offer of this.offers.filter(({ isAsked }) => isAsked)) {
          if (heard) {
            this.offers.splice(this.offers.indexOf(offer), 1);
            this.slots.takeBack(offer);
          } else {
            offer.isAsked = false;
            this.slots.keep(offer);
            // The next round over all queues wakes whoever has work.
            this.isAwake = true;
          }
        }
      }
    }

    const step = fc.record({
      part: fc.nat({ max: 3 }),
      kind: fc.constantFrom('work', 'end', 'end', 'use', 'answer', 'unheard', 'look'),
    });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5 }),
        fc.array(fc.nat({ max: 2 }), { minLength: 4, maxLength: 4 }),
        fc.array(step, { maxLength: 200, size: 'max' }),
        (capacity, reserved, steps) => {
          const slots = new Slots(capacity);
          const deps = reserved.map((own, i) => {
            slots.setShare(`a${i}`, { weight: 1 + i, reserved: own });
            return new Part(`a${i}`, slots);
          });
          const settle = () => {
            for (let turns = 0; deps.some(({ isAwake }) => isAwake); turns++) {
              expect(turns, 'they come to rest').toBeLessThan(1000);
              for (const part of deps) if (part.isAwake) part.look();
            }
          };
          for (const { part: index, kind } of steps) {
            const part = deps[index]!;
            if (kind === 'work') {
              part.work++;
              part.wake();
            } else if (kind === 'end') part.end();
            else if (kind === 'use') part.use();
            else if (kind === 'look') part.look();
            else part.answer(kind === 'answer');
            const running = deps.reduce((sum, one) => sum + one.running, 0);
            const offered = deps.reduce((sum, one) => sum + one.offers.length, 0);
            expect(slots.taken).toBe(running);
            expect(running + offered).toBeLessThanOrEqual(capacity);
          }
          // Whatever was asked for is given back in the end: then all who have work have slots, as far as there are any.
          for (let round = 0; round < 20; round++) {
            settle();
            for (const part of deps) part.answer(true);
          }
          settle();
          const running = deps.reduce((sum, one) => sum + one.running, 0);
          for (const part of deps) {
            if (part.work === 0) continue;
            expect(part.isWaiting, 'who has work and no slot is in line').toBe(true);
            for (const other of deps) {
              const own = other.running + other.offers.length;
              if (other.offers.length > 0)
                expect(own, 'an offer that stands is within its reserved share').toBeLessThanOrEqual(
                  reserved[deps.indexOf(other)]!,
                );
            }
          }
          if (deps.some(({ work }) => work > 0) && reserved.every((own) => own === 0)) expect(running).toBe(capacity);
        },
      ),
      { numRuns: 300 },
    );
  });
});
