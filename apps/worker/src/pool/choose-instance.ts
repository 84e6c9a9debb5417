/** What a policy knows of an instance that is ready. */
export interface Candidate {
  readonly lastUsedAtMs: number;
}

/**
 * The ready instance that was used last: the others stay idle, so that they can go.
 * @returns null where there is none
 */
export function mostRecent<C extends Candidate>(ready: Iterable<C>): C | null {
  let best: C | null = null;
  for (const candidate of ready) if (best === null || candidate.lastUsedAtMs >= best.lastUsedAtMs) best = candidate;
  return best;
}

/** The ready instance that was used least recently: the first to make room. */
export function leastRecent<C extends Candidate>(ready: Iterable<C>): C | null {
  let best: C | null = null;
  for (const candidate of ready) if (best === null || candidate.lastUsedAtMs < best.lastUsedAtMs) best = candidate;
  return best;
}
