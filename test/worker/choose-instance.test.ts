import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Candidate, leastRecent, POLICIES } from '../../apps/worker/src/pool/choose-instance.ts';

const candidates = fc.array(fc.record({ lastUsedAtMs: fc.nat(100), tasksRun: fc.nat(10) }), { maxLength: 8 });
const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe.each(Object.entries(POLICIES))('%s', (name, choose) => {
  it('picks one of those that are ready, or none where none is', () => {
    fc.assert(
      fc.property(candidates, random, (ready, chance) => {
        const chosen = choose(ready, chance);
        if (ready.length === 0) expect(chosen).toBeNull();
        else expect(ready).toContain(chosen);
      }),
    );
  });

  it('picks the one it is named for', () => {
    const [old, middle, fresh]: Candidate[] = [
      { lastUsedAtMs: 1, tasksRun: 5 },
      { lastUsedAtMs: 2, tasksRun: 1 },
      { lastUsedAtMs: 3, tasksRun: 9 },
    ];
    const expected = { 'most-recent': fresh, 'round-robin': old, 'least-loaded': middle, random: middle }[name];
    expect(choose([old, middle, fresh] as Candidate[], 0.5)).toBe(expected);
  });
});

it('the least recent is the first to make room', () => {
  fc.assert(
    fc.property(candidates, (ready) => {
      const least = Math.min(...ready.map(({ lastUsedAtMs }) => lastUsedAtMs));
      expect(leastRecent(ready)?.lastUsedAtMs).toBe(ready.length === 0 ? undefined : least);
    }),
  );
});
