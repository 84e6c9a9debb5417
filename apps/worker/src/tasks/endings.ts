import { type ErrorData, InstanceError, type PilumError, TaskError } from '@pilum/core/errors/pilum-error.ts';
import { DEFAULT_RECOVERIES } from '@pilum/core/schemas/artifact-spec.ts';
import type { Ticket } from '@pilum/core/schemas/task.ts';
import type { Suspicion } from '@pilum/core/store/task-store.ts';
import type { Ending } from './outcomes.ts';
import type { Stop } from './running-tasks.ts';

/** Number of times that a task is run again because an instance died under it. */
export function maxRecoveries({ maxRecoveries: own }: Ticket): number {
  return own ?? DEFAULT_RECOVERIES;
}
/** A task that has run on so many workers that died is under suspicion, and begins alone from then on. */
export const SUSPECT_AFTER = 2;
/** So many workers have died under it while it was alone: it is the reason. */
const MAX_ALONE_LOSSES = 3;
/** So many have died after it had begun under suspicion: whether or not it is the reason, no more are given to it. */
const MAX_BEGUN_LOSSES = 12;

export function failed(error: PilumError, status: 'failed' | 'cancelled' = 'failed'): Ending {
  return { status, error: error.toData() };
}

const UNREAD = {
  message: 'The stream had no reader for a while, and was not started with detach=true: its task was cancelled.',
};

/** @param stop why it was ended; null where it was seen to have its outcome already */
export function cancelled(stop: Stop | null): Ending {
  return failed(new TaskError('TASK_CANCELLED', stop === 'unread' ? UNREAD : {}), 'cancelled');
}

export function timeout(ticket: Ticket, ranMs: number): Ending {
  const error: ErrorData = new TaskError('TASK_TIMEOUT', {
    message: `The task ran for ${Math.round(ranMs)} ms, longer than it may (${ticket.runTimeoutMs} ms), and was stopped.`,
    details: { ranMs: Math.round(ranMs), timeoutMs: ticket.runTimeoutMs },
  }).toData();
  return { status: 'timeout', error };
}

/** After the last loss it is not run again. */
export function lostTooOften(ticket: Ticket, last?: InstanceError): Ending {
  const recoveries = maxRecoveries(ticket);
  const lost =
    recoveries === 0
      ? 'The instance or the worker of the task died, and it may not be run again (retry.recoveries).'
      : `The task was run ${recoveries + 1} times, and each time its instance or its worker died.`;
  return failed(
    new InstanceError('INSTANCE_LOST', {
      message: last === undefined ? lost : `${lost} Last: ${last.message}`,
      details: { ...last?.details, recoveries },
      cause: last,
    }),
  );
}

/**
 * The end of a task under which too many workers have died; null where another may be given to it.
 * @param workersLost in all, also those on which it only waited
 */
export function lostWithWorkers(workersLost: number, { begun, alone }: Suspicion): Ending | null {
  if (alone < MAX_ALONE_LOSSES && begun < MAX_BEGUN_LOSSES) return null;
  const how = alone < MAX_ALONE_LOSSES ? '' : `, ${alone} of them when it had just begun, alone`;
  return failed(
    new InstanceError('INSTANCE_LOST', {
      message: `${workersLost} workers died under the task${how}: it is not run again.`,
      details: { recoveries: workersLost - 1, workersLost, workersLostAlone: alone },
    }),
  );
}

/** Ends a streamed task whose instance was lost: a task that has given chunks would give them twice if it were run again. */
export function lostInStream(what: string, last?: InstanceError): Ending {
  return failed(
    new InstanceError('INSTANCE_LOST', {
      message: `${what} in mid-stream. A streamed task that has given output is run again only where it was started with restart=true.`,
      ...(last === undefined ? {} : { details: last.details, cause: last }),
    }),
  );
}
