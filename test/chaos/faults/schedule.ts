import { FAULTS, type FaultKind, REDIS_FAULTS } from '../history/events.ts';
import type { Random } from '../run/random.ts';

/** Faults that strike together: the second so long after the first, ms. */
export interface Blow {
  readonly kinds: readonly FaultKind[];
  readonly gapMs: number;
  /** Calm time after everything has recovered, ms. */
  readonly calmMs: number;
}

/** How often a second fault strikes before the first is over. */
const PAIRED = 0.25;

/**
 * Blows in which each of the kinds is struck at least so many times.
 * @param times how often
 * @param kinds which; all where it is left out
 */
export function drawSchedule(random: Random, times: number, kinds: readonly FaultKind[] = FAULTS): Blow[] {
  const first = random.shuffled(Array.from({ length: times }, () => kinds).flat());
  return first.map((kind) => {
    // Two faults of Redis at once would be one; two rolling restarts would wait for each other.
    const others = kinds.filter((other) => other !== kind && !(REDIS_FAULTS.has(other) && REDIS_FAULTS.has(kind)));
    const isPaired = others.length > 0 && random.chance(PAIRED);
    return {
      kinds: isPaired ? [kind, random.pick(others)] : [kind],
      gapMs: random.between(0, 3000),
      calmMs: random.between(500, 3000),
    };
  });
}
