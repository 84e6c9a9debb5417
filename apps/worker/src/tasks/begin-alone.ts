import { logEvent } from '@pilum/core/log/log-events.ts';
import type { Suspicion, TaskStore } from '@pilum/core/store/task-store.ts';
import type { Logger } from 'pino';
import type { Beginning, Beginnings } from './beginnings.ts';
import { SUSPECT_AFTER } from './endings.ts';
import { noteInLog, type Run } from './run.ts';

export interface BeginAloneDeps {
  readonly beginnings: Beginnings;
  readonly tasks: TaskStore;
  readonly logger: Logger;
}

/** Whether so many workers have died under it that it may be why. */
export function isSuspect({ held }: Run): boolean {
  return held.stalls >= SUSPECT_AFTER;
}

/**
 * Begins a task that has run on workers that died: alone, so that it is known of the next one whether this task is why. That it
 * is at it stands in Redis meanwhile, as nobody is left to write it afterwards.
 * @throws the signal's reason
 */
export async function beginAlone(run: Run, deps: BeginAloneDeps, signal: AbortSignal): Promise<Beginning> {
  const { beginnings, tasks, logger } = deps;
  const { ticket, held, suspicion } = run;
  const { taskId } = ticket;
  const clear = (of: Suspicion) =>
    void tasks.noteSuspicion(ticket, of).catch((error: unknown) => {
      logEvent(logger, 'suspect-not-cleared', { err: error, taskId });
    });
  const { begun, alone } = suspicion;
  const beginning = await beginnings.beginAlone(signal, () => clear({ begun: begun + 1, alone }));
  try {
    await tasks.noteSuspicion(ticket, { begun: begun + 1, alone: alone + 1 });
    noteInLog(run, `${held.stalls} workers died under it: it begins alone on this one`);
    logEvent(logger, 'suspect-alone', { taskId, workersLost: held.stalls, ...suspicion });
  } catch (error) {
    beginning.over();
    throw error;
  }
  return {
    over: () => {
      beginning.over();
      clear(suspicion);
    },
  };
}
