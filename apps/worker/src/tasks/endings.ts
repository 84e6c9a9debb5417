import { type ErrorData, InstanceError, type PilumError, TaskError } from '@pilum/core/errors/pilum-error.ts';
import type { Ticket } from '@pilum/core/schemas/task.ts';
import type { Ending } from './outcomes.ts';

/** How often a task is run again because an instance or a worker died under it. */
export const MAX_RECOVERIES = 3;

export function failed(error: PilumError, status: 'failed' | 'cancelled' = 'failed'): Ending {
  return { status, error: error.toData() };
}

export function timeout(ticket: Ticket, ranMs: number): Ending {
  const error: ErrorData = new TaskError('TASK_TIMEOUT', {
    message: `The task ran for ${Math.round(ranMs)} ms, longer than it may (${ticket.runTimeoutMs} ms), and was stopped.`,
    details: { ranMs: Math.round(ranMs), timeoutMs: ticket.runTimeoutMs },
  }).toData();
  return { status: 'timeout', error };
}

/** After the last loss it is not run again. */
export function lostTooOften(last?: InstanceError): Ending {
  const lost = `The task was run ${MAX_RECOVERIES + 1} times, and each time its instance or its worker died.`;
  return failed(
    new InstanceError('INSTANCE_LOST', {
      message: last === undefined ? lost : `${lost} Last: ${last.message}`,
      details: { ...last?.details, recoveries: MAX_RECOVERIES },
      cause: last,
    }),
  );
}

/** What has given chunks cannot be run again without giving them twice. */
export function lostInStream(what: string, last?: InstanceError): Ending {
  return failed(
    new InstanceError('INSTANCE_LOST', {
      message: `${what} in mid-stream. A streamed task that has given output is run again only where it was started with restart=true.`,
      ...(last === undefined ? {} : { details: last.details, cause: last }),
    }),
  );
}
