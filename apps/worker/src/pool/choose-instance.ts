import type { PoolPolicy } from '@pilum/core/schemas/artifact-spec.ts';

/** An instance that is ready, as a policy sees it. */
export interface Candidate {
  readonly lastUsedAtMs: number;
  /** Tasks that it has run so far. */
  readonly tasksRun: number;
}

/**
 * Picks one of the instances that are ready, or null where there is none.
 * @param random from 0 (included) to 1 (excluded)
 */
export type Policy = <C extends Candidate>(ready: readonly C[], random: number) => C | null;

/** The one that was used last: the others stay idle, so that they can go. */
const mostRecent: Policy = (ready) => best(ready, (a, b) => a.lastUsedAtMs >= b.lastUsedAtMs);

/** The one that was used least recently: each has its turn, and none grows cold. */
const roundRobin: Policy = (ready) => best(ready, (a, b) => a.lastUsedAtMs < b.lastUsedAtMs);

/** The one that has run the fewest tasks; among equals the one used last. */
const leastLoaded: Policy = (ready) =>
  best(ready, (a, b) => a.tasksRun < b.tasksRun || (a.tasksRun === b.tasksRun && a.lastUsedAtMs >= b.lastUsedAtMs));

const anyOne: Policy = (ready, random) => ready[Math.floor(random * ready.length)] ?? null;

export const POLICIES: Readonly<Record<PoolPolicy, Policy>> = {
  'most-recent': mostRecent,
  'round-robin': roundRobin,
  'least-loaded': leastLoaded,
  random: anyOne,
};

/** The instance that was used least recently: the first to make room. */
export function leastRecent<C extends Candidate>(ready: readonly C[]): C | null {
  return roundRobin(ready, 0);
}

function best<C>(candidates: readonly C[], isBetter: (a: C, b: C) => boolean): C | null {
  let found: C | null = null;
  for (const candidate of candidates) if (found === null || isBetter(candidate, found)) found = candidate;
  return found;
}
