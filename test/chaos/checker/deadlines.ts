import { type EventOf, REDIS_FAULTS } from '../history/events.ts';
import type { Ledger } from './ledger.ts';

/** What a deadline may be missed by, ms. */
const GRACE_MS = 1000;
/** Within this time an API says that Redis is away, ms; it is the limit as well for a call that waits for nothing. */
const REDIS_LIMIT_MS = 5000;
/** So long after Redis is back connections may still be about to be made again, ms. */
const RECONNECT_MS = 2000;

/**
 * How long a call may take, ms: as long as it says that it waits. Where Redis was away during the call it may take 5 s
 * also where it says less, for until then nobody can know what became of it. The time for which the harness itself did
 * not run is not held against Pilum.
 */
export function deadlineOf(ledger: Ledger, sent: EventOf<'sent'>, answered: EventOf<'answered'>): number {
  const overlaps = (from: number, to: number) => from <= answered.at && to >= sent.at;
  const redisAway = [...ledger.faults.values()].some(
    ({ kind, beganAt, endedAt }) =>
      REDIS_FAULTS.has(kind) && overlaps(beganAt, (endedAt ?? Number.POSITIVE_INFINITY) + RECONNECT_MS),
  );
  const waitsForNothing = sent.waitMs === null || sent.waitMs === 0;
  const limitMs = redisAway || waitsForNothing ? Math.max(sent.waitMs ?? 0, REDIS_LIMIT_MS) : (sent.waitMs ?? 0);
  const lagMs = ledger.lags
    .filter((lag) => overlaps(lag.at - lag.lagMs, lag.at))
    .reduce((sum, lag) => sum + lag.lagMs, 0);
  return limitMs + GRACE_MS + lagMs;
}
