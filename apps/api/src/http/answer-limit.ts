import { withTimeout } from '@pilum/core/async/with-timeout.ts';
import { SystemError } from '@pilum/core/errors/pilum-error.ts';

/** How long a caller who does not say how long it waits is kept waiting for Redis, ms. */
export const REDIS_LIMIT_MS = 5000;
/** From the end of a caller's wait until it is answered at the latest, ms: the last look at the record is part of it. */
const SLACK_MS = 600;

/**
 * When a caller is answered at the latest, whatever becomes of Redis, ms from its call.
 * @param waitMs how long the caller has asked to wait; 0 for not at all
 */
export function answerLimitMs(waitMs: number): number {
  return waitMs === 0 ? REDIS_LIMIT_MS : waitMs + SLACK_MS;
}

/**
 * Does something for a caller, who is answered in time whatever becomes of it.
 * @param waitMs how long the caller has asked to wait; 0 for not at all
 * @throws SystemError `REDIS_UNAVAILABLE` where it has no answer in time
 */
export async function answerInTime<T>(work: Promise<T>, waitMs = 0): Promise<T> {
  const limitMs = answerLimitMs(waitMs);
  return await withTimeout(work, limitMs, () => {
    throw notAnswered(limitMs, 'Repeat the request in a second.');
  });
}

export function notAnswered(afterMs: number, hint: string): SystemError {
  return new SystemError('REDIS_UNAVAILABLE', { message: `Redis did not answer within ${afterMs} ms.`, hint });
}
