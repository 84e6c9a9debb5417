import type { PilumError } from '@pilum/core/errors/pilum-error.ts';

/** Starts of one task that may run into the time limit: it may be too short, and then no further one would help. */
const STARTS_PAST_LIMIT = 4;
/** Starts of a program that has said something: it was up, and is more likely never to be ready. */
const STARTS_PAST_LIMIT_OF_TALKERS = 2;

/** Number of times that a start that failed so may be tried, for one task. */
function startsAllowed({ code, details = {} }: PilumError): number {
  // The machine could not make it, and nothing of the version's had a part in that.
  if (code === 'RUNTIME_UNAVAILABLE' || code === 'SANDBOX_UNAVAILABLE') return Number.POSITIVE_INFINITY;
  if (code !== 'INSTANCE_START_FAILED' || 'type' in details) return 1;
  if ('afterMs' in details) {
    const hasSpoken = typeof details.output === 'string' && details.output !== '';
    return hasSpoken ? STARTS_PAST_LIMIT_OF_TALKERS : STARTS_PAST_LIMIT;
  }
  // Killed, as by a machine that is out of memory; what ends by itself would do so again.
  return typeof details.signal === 'string' ? STARTS_PAST_LIMIT : 1;
}

/**
 * Whether a task whose function was not begun, for want of an instance, is to wait for another start.
 * @param failures starts that have failed for this task, with this one
 */
export function isStartedAgain(error: PilumError, failures: number): boolean {
  return failures < startsAllowed(error);
}
