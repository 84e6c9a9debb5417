import type { TaskStory } from './ledger.ts';

/** How often a task may have been executed, and why. */
export interface AllowedExecutions {
  readonly attempts: number;
  readonly recoveries: number;
  readonly givenBack: number;
  readonly total: number;
}

/** Attempts on record, and what was said about further runs. */
export function allowedExecutions(task: TaskStory): AllowedExecutions {
  // A cancel may come between the moment in which a worker takes the task and the one in which the function begins:
  // then one more attempt was begun than the outcome knows of.
  const attempts = (task.record?.attempts ?? 0) + (task.record?.status === 'cancelled' ? 1 : 0);
  // The outcome may be that of the first run, written after the second was begun: it knows of no recovery.
  const recoveries = Math.max(recoveriesExplained(task), task.record?.recoveries ?? 0);
  const givenBack = task.said.filter(({ statement }) => statement === 'given-back').length;
  return { attempts, recoveries, givenBack, total: attempts + recoveries + givenBack };
}

/**
 * Recoveries of a task that a log gives a reason for. Who runs it again says so with its number, in its own log and in
 * the task's; who took it from a dead worker says so without one.
 */
export function recoveriesExplained(task: TaskStory): number {
  // A worker that gives a task back may leave the count to begin anew; what the task's log has is said twice.
  const byWorkers = new Map<string, string>();
  const inLog = new Set<number>();
  let taken = 0;
  for (const { statement, recovery, reason, source } of task.said) {
    if (statement === 'taken-from-dead-worker') taken++;
    if (statement !== 'run-again' || recovery === null) continue;
    if (source === 'log') inLog.add(recovery);
    else byWorkers.set(`${source} ${recovery}`, reason);
  }
  const ofInstances = [...byWorkers.values()].filter((reason) => !reason.includes('its worker')).length;
  return Math.max(byWorkers.size, inLog.size, taken + ofInstances);
}

/** Recoveries by workers that then gave the task back, so that another has to count on from there. */
export function recoveriesHandedOn({ said }: TaskStory): number {
  const gaveBack = new Set(said.filter(({ statement }) => statement === 'given-back').map(({ source }) => source));
  const handedOn = said.filter(({ statement, source }) => statement === 'run-again' && gaveBack.has(source));
  return new Set(handedOn.map(({ source, recovery }) => `${source} ${recovery}`)).size;
}
