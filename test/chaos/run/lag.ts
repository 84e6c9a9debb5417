import type { History } from '../history/history.ts';

const INTERVAL_MS = 100;
/** Shorter ones do not matter to a deadline of seconds, ms. */
const LEAST_LAG_MS = 200;

/** Writes into the history when the harness itself did not get to run. Returns what ends it. */
export function watchLag(history: History): () => void {
  let expectedAt = performance.now() + INTERVAL_MS;
  const timer = setInterval(() => {
    const lagMs = Math.round(performance.now() - expectedAt);
    if (lagMs >= LEAST_LAG_MS) history.write({ type: 'lag', at: Date.now(), lagMs });
    expectedAt = performance.now() + INTERVAL_MS;
  }, INTERVAL_MS);
  return () => clearInterval(timer);
}
