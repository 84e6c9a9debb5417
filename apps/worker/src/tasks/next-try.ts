import { errorFromData } from '@pilum/core/errors/pilum-error.ts';
import { sharedNow } from '@pilum/core/redis/shared-time.ts';
import type { FailedAttempt, Ticket } from '@pilum/core/schemas/task.ts';
import { isStartedAgain } from '../pool/start-again.ts';
import { type Ending, round } from './outcomes.ts';
import { backoffMs, isRetryable, nextTicket, ticketOfNextStart } from './retry.ts';
import { hasGivenForGood, noteInLog, type Run } from './run.ts';

/** Tasks that wait for the same start come back within this, ms, and not all at once. */
const SPREAD_MS = 250;

/** An attempt that failed, as its record says it, and the ticket of the one that follows. */
export interface NextAttempt {
  readonly failed: FailedAttempt;
  readonly next: Ticket;
}

/**
 * Returns the ticket of the same attempt, put off, for a task whose function was not begun because no instance could be had;
 * null where it ends with that.
 */
export function nextStartOf(run: Run, ending: Ending): Ticket | null {
  const { ticket, nextStartAtMs, held } = run;
  if (nextStartAtMs === null || ending.status !== 'failed') return null;
  const failures = (ticket.starts?.failures ?? 0) + 1;
  if (!isStartedAgain(errorFromData(ending.error), failures)) return null;
  const now = sharedNow();
  const dueAtMs = Math.max(now, nextStartAtMs) + Math.ceil(Math.random() * SPREAD_MS);
  const next = ticketOfNextStart(ticket, held.stalls, dueAtMs);
  if (next === null) return null;
  const { code, message } = ending.error;
  noteInLog(run, `no instance could be started, the next start follows in ${dueAtMs - now} ms: ${code}: ${message}`);
  return next;
}

/** Returns what follows an attempt that failed where another may help and is allowed; null where this one was the last. */
export function nextAttemptOf(run: Run, ending: Ending, workerId: string): NextAttempt | null {
  const { ticket, attempt, version } = run;
  if (ending.status === 'completed' || ending.status === 'cancelled' || version === undefined) return null;
  if (attempt >= ticket.maxAttempts || !run.begun || !isRetryable(ending.error.code)) return null;
  if (hasGivenForGood(run)) return null;
  const now = sharedNow();
  const pauseMs = backoffMs(version.spec.retry.backoff, attempt, Math.random());
  const { code, message } = ending.error;
  noteInLog(
    run,
    `attempt ${attempt} of ${ticket.maxAttempts} failed, the next follows in ${pauseMs} ms: ${code}: ${message}`,
  );
  const failed: FailedAttempt = {
    attempt,
    workerId,
    instanceId: run.instanceId,
    startedAtMs: run.startedAtMs,
    finishedAtMs: now,
    runMs: round(run.runMs),
    error: ending.error,
    retryAtMs: now + pauseMs,
  };
  return { failed, next: nextTicket(ticket, run.held.stalls, attempt, failed.retryAtMs) };
}
