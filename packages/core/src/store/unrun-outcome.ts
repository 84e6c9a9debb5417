import { type PilumError, TaskError } from '../errors/pilum-error.ts';
import { sharedNow } from '../redis/shared-time.ts';
import { identityOf, type Outcome, type Ticket, waitOf } from '../schemas/task.ts';

/**
 * The outcome of a task that is ended now, and not by the worker that may run it.
 * @param startedAtMs when a worker began the attempt it is at, ms since 1970; null where none has
 */
function unrunOutcome(
  ticket: Ticket,
  startedAtMs: number | null,
  status: Outcome['status'],
  error: PilumError,
): Outcome {
  const now = sharedNow();
  return {
    ...identityOf(ticket),
    status,
    error: error.toData(),
    attempt: startedAtMs === null ? ticket.attempt - 1 : ticket.attempt,
    recoveries: 0,
    workerId: null,
    instanceId: null,
    startedAtMs,
    finishedAtMs: now,
    startMs: 0,
    runMs: startedAtMs === null ? 0 : Math.max(0, now - startedAtMs),
    queuedMs: Math.max(0, (startedAtMs ?? now) - waitOf(ticket).sinceMs),
    coldStart: false,
    // Its wait is all used up, however many attempts it might have had.
    ...(error.code === 'QUEUE_TIMEOUT' ? { exhausted: true } : {}),
  };
}

/** @param message why, for whoever asks for the task */
export function cancelledOutcome(ticket: Ticket, startedAtMs: number | null, message: string): Outcome {
  return unrunOutcome(ticket, startedAtMs, 'cancelled', new TaskError('TASK_CANCELLED', { message }));
}

/** The outcome of a task that has waited longer than it may. */
export function queueTimeoutOutcome(ticket: Ticket): Outcome {
  return unrunOutcome(ticket, null, 'timeout', queueTimeout(ticket));
}

export function queueTimeout(ticket: Ticket): TaskError {
  const { sinceMs, queueMs } = waitOf(ticket);
  const waitedMs = Math.max(0, sharedNow() - sinceMs);
  return new TaskError('QUEUE_TIMEOUT', {
    message: `The task waited ${waitedMs} ms in its queue, longer than it may (${queueMs} ms, timeouts.queueMs).`,
    details: { waitedMs, queueMs },
  });
}
