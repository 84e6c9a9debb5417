import { TaskError } from '../errors/pilum-error.ts';
import { identityOf, type Outcome, type Ticket } from '../schemas/task.ts';

/**
 * The outcome of a task that was ended from outside, now.
 * @param startedAtMs when a worker began it, ms since 1970; null where none has
 * @param message why, for whoever asks for the task
 */
export function cancelledOutcome(ticket: Ticket, startedAtMs: number | null, message: string): Outcome {
  const now = Date.now();
  return {
    ...identityOf(ticket),
    status: 'cancelled',
    error: new TaskError('TASK_CANCELLED', { message }).toData(),
    attempt: startedAtMs === null ? 0 : 1,
    recoveries: 0,
    workerId: null,
    instanceId: null,
    startedAtMs,
    finishedAtMs: now,
    startMs: 0,
    runMs: startedAtMs === null ? 0 : Math.max(0, now - startedAtMs),
    queuedMs: Math.max(0, (startedAtMs ?? now) - ticket.acceptedAtMs),
    coldStart: false,
  };
}
