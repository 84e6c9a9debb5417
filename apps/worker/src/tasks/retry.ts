import { ERROR_TABLE, type ErrorCode } from '@pilum/core/errors/error-table.ts';
import type { ArtifactSpec } from '@pilum/core/schemas/artifact-spec.ts';
import { type Ticket, waitOf } from '@pilum/core/schemas/task.ts';

/** The longest pause that doubling comes to, ms. */
const LONGEST_BACKOFF_MS = 3_600_000;

/** Ends that are no attempt's own: the wait is over, or the recoveries are used up. */
const FINAL: ReadonlySet<ErrorCode> = new Set(['QUEUE_TIMEOUT', 'INSTANCE_LOST']);

/** Whether another attempt could come to another end; the table of errors says so. */
export function isRetryable(code: ErrorCode): boolean {
  return ERROR_TABLE[code].retryable && !FINAL.has(code);
}

/**
 * Pause after an attempt that failed, ms: `delayMs` after each (fixed), or twice as long after each (exponential, up to
 * an hour). Jitter takes away up to that share of it, so that tasks that failed together do not come back together.
 * @param attempt the one that failed: 1, 2, 3 …
 * @param random from 0 to 1
 */
export function backoffMs(
  { type, delayMs, jitter }: ArtifactSpec['retry']['backoff'],
  attempt: number,
  random: number,
): number {
  const whole =
    type === 'fixed' ? delayMs : Math.min(delayMs * 2 ** (attempt - 1), Math.max(delayMs, LONGEST_BACKOFF_MS));
  return Math.round(whole * (1 - jitter * random));
}

/** The ticket of the attempt after the given one, which had that ticket and so many stalls. */
export function nextTicket(ticket: Ticket, stalls: number, attempt: number, dueAtMs: number): Ticket {
  const { starts: _waited, ...rest } = ticket;
  const { queueMs } = waitOf(ticket);
  return { ...rest, attempt: attempt + 1, dueAtMs, queueMs, ...(stalls > 0 ? { stalls } : {}) };
}

/**
 * The ticket of the same attempt, put off until another start may be tried; null where it may not wait so long.
 * @param stalls those that its job has had
 * @param dueAtMs when that is, ms since 1970
 */
export function ticketOfNextStart(ticket: Ticket, stalls: number, dueAtMs: number): Ticket | null {
  const { sinceMs, queueMs } = waitOf(ticket);
  const leftMs = sinceMs + queueMs - dueAtMs;
  if (leftMs <= 0) return null;
  const failures = (ticket.starts?.failures ?? 0) + 1;
  return {
    ...ticket,
    dueAtMs,
    queueMs: leftMs,
    starts: { failures, sinceMs, queueMs },
    ...(stalls > 0 ? { stalls } : {}),
  };
}
