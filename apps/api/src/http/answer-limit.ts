import { withTimeout } from '@pilum/core/async/with-timeout.ts';
import { SystemError } from '@pilum/core/errors/pilum-error.ts';

/** Longest wait for Redis on behalf of a caller that names no wait of its own, ms. */
export const REDIS_LIMIT_MS = 5000;
/** Time from the end of a caller's wait to the latest answer, ms. A last look at the task's record falls into it. */
const SLACK_MS = 600;

/**
 * Returns the time after which a caller is answered even if Redis is silent, ms from its call.
 * @param waitMs how long the caller has asked to wait; 0 for not at all
 */
export function answerLimitMs(waitMs: number): number {
  return waitMs === 0 ? REDIS_LIMIT_MS : waitMs + SLACK_MS;
}

/**
 * Waits for work on behalf of a caller, up to the time of {@link answerLimitMs}.
 * @param waitMs how long the caller has asked to wait; 0 for not at all
 * @throws SystemError `REDIS_UNAVAILABLE` when that time is over
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
