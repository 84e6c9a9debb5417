import { TaskError, toPilumError } from '@pilum/core/errors/pilum-error.ts';
import { logEvent } from '@pilum/core/log/log-events.ts';
import type { Version } from '@pilum/core/schemas/artifact.ts';
import { type TaskStore, unknownTicket } from '@pilum/core/store/task-store.ts';
import { isKnown, type UnknownRecord } from '@pilum/core/store/unknown-record.ts';
import { queueTimeout } from '@pilum/core/store/unrun-outcome.ts';
import type { Logger } from 'pino';
import type { InstancePools } from '../pool/instance-pools.ts';
import { beginAlone, isSuspect } from './begin-alone.ts';
import type { Beginnings } from './beginnings.ts';
import { callUntilNotLost } from './call-until-not-lost.ts';
import { cancelled, failed, lostInStream, lostWithWorkers, maxRecoveries } from './endings.ts';
import type { Ending } from './outcomes.ts';
import { endAsLost, hasGivenForGood, isLostTooOften, noteInLog, type Run } from './run.ts';
import { stopOf } from './running-tasks.ts';
import type { VersionCache } from './version-cache.ts';

export interface AttemptDeps {
  readonly tasks: TaskStore;
  readonly versions: VersionCache;
  readonly pools: InstancePools;
  readonly beginnings: Beginnings;
  readonly killGraceMs: number;
  readonly logger: Logger;
}

/**
 * Decides whether a task may run here, as soon as its version is known: there must be room for it, and nothing of it may be
 * unknown to this release.
 */
export type Admits = (what: Version | UnknownRecord) => boolean;

/**
 * The result of an attempt: an end; `refused`, this worker has no room for it or does not know something of it, and nothing
 * of it was begun; `interrupted`, the worker stopped before its end, and nothing of it runs here any more.
 */
export type AttemptResult =
  | { readonly kind: 'ending'; readonly ending: Ending }
  | { readonly kind: 'refused' }
  | { readonly kind: 'interrupted' };

/**
 * Runs one attempt at a task. Every failure of function, instance or code is an end of it.
 *
 *     lost too often? → still in time? → version → room? → payload → may begin → instance, call
 *
 * @param admits says whether it may run here
 * @param signal the running task's
 */
export async function runAttempt(
  run: Run,
  deps: AttemptDeps,
  admits: Admits,
  signal: AbortSignal,
): Promise<AttemptResult> {
  const unbegun = endsUnbegun(run);
  if (unbegun !== null) return ended(unbegun);
  const { ticket } = run;
  const { versions, tasks, pools } = deps;
  const unknown = unknownTicket(ticket);
  if (unknown !== null) {
    admits(unknown);
    return { kind: 'refused' };
  }
  try {
    const version = await versions.get(ticket, ticket.version);
    if (version === null) return ended(deletedBefore(ticket.artifactId));
    if (!admits(version) || !isKnown(version)) return { kind: 'refused' };
    run.version = version;
    const payload = await tasks.payload(ticket);
    if (payload === null) throw new Error(`the payload of ${ticket.taskId} is gone`);
    const begun = await begin(run, deps, signal);
    try {
      const ending = await pools.with(ticket.namespace, version, (pool, unpackMs) => {
        run.unpackMs = unpackMs;
        return callUntilNotLost({ run, version, pool, payload }, deps, signal);
      });
      return ended(ending);
    } finally {
      begun.over();
    }
  } catch (thrown) {
    const stop = stopOf(signal);
    if (stop === 'interrupted') return await interrupted(run);
    if (stop !== null) return ended(cancelled(stop));
    const error = toPilumError(thrown);
    if (error.code === 'INTERNAL') {
      logEvent(deps.logger, 'task-internal', { err: thrown, taskId: ticket.taskId });
    }
    return ended(failed(error));
  }
}

const ended = (ending: Ending): AttemptResult => ({ kind: 'ending', ending });

/** The end of a task that is not begun at all; null where it is to begin. */
function endsUnbegun(run: Run): Ending | null {
  const { ticket, output, held } = run;
  if (isLostTooOften(run)) return endAsLost(run);
  const given = lostWithWorkers(held.stalls, run.suspicion);
  if (given !== null) {
    // The last loss was followed by no further run.
    run.recoveries--;
    return given;
  }
  if (hasGivenForGood(run)) return lostInStream('The worker that ran it was lost');
  if (output.chunkCount > 0) output.restart('The run before it came to nothing.');
  return run.startedAtMs > held.queueDeadlineMs ? { status: 'timeout', error: queueTimeout(ticket).toData() } : null;
}

function begin(run: Run, deps: AttemptDeps, signal: AbortSignal) {
  if (isSuspect(run)) return beginAlone(run, deps, signal);
  return deps.beginnings.tryBegin() ?? deps.beginnings.begin(signal);
}

/** Returns what a run comes to that the worker could not wait for: an end where it may not be run again. */
async function interrupted(run: Run): Promise<AttemptResult> {
  // Whoever runs it next must not meet an instance that is still at it.
  await run.released;
  if (hasGivenForGood(run)) return ended(lostInStream('The worker that ran it was stopped'));
  if (run.instanceId !== null && maxRecoveries(run.ticket) === 0) return ended(endAsLost(run));
  noteInLog(run, 'given back by a worker that stops');
  await run.output.finish().catch(() => undefined);
  return { kind: 'interrupted' };
}

function deletedBefore(artifactId: string): Ending {
  return failed(
    new TaskError('TASK_CANCELLED', { message: `Artifact ${artifactId} was deleted before the task ran.` }),
  );
}
