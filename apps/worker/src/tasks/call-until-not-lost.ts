import { InstanceError } from '@pilum/core/errors/pilum-error.ts';
import { logEvent } from '@pilum/core/log/log-events.ts';
import { LOCK_DURATION_MS } from '@pilum/core/queue/lock-times.ts';
import { sharedNow } from '@pilum/core/redis/shared-time.ts';
import type { Version } from '@pilum/core/schemas/artifact.ts';
import type { NetworkUse } from '@pilum/core/schemas/task.ts';
import type { TaskStore } from '@pilum/core/store/task-store.ts';
import type { Logger } from 'pino';
import type { InstancePool, Lease } from '../pool/instance-pool.ts';
import { SharedLoss } from '../runtimes/contract/runtime.ts';
import { cancelled, lostInStream, timeout } from './endings.ts';
import type { Ending } from './outcomes.ts';
import { endingOfResult } from './result-ending.ts';
import { endAsLost, hasGivenForGood, isLostTooOften, noteInLog, noteUse, type Run } from './run.ts';
import { stopOf } from './running-tasks.ts';
import { TimedCall } from './timed-call.ts';

/** Times that an instance which a task shared with others may die under it before that counts as its own loss: from the first time on it is run alone. */
const MAX_SHARED_LOSSES = 3;

export interface CallDeps {
  readonly tasks: TaskStore;
  readonly killGraceMs: number;
  readonly logger: Logger;
}

/** The target of a run: an instance of this pool, with this payload. */
export interface Target {
  readonly run: Run;
  readonly version: Version;
  readonly pool: InstancePool;
  readonly payload: Buffer;
}

/**
 * Calls an instance of a pool. One that dies under the task is a loss, not a failure of the function: the task is run again
 * on another one, for as often as it may be.
 * @throws what the lease or the call throws; the signal's reason where that was aborted
 */
export async function callUntilNotLost(target: Target, deps: CallDeps, signal: AbortSignal): Promise<Ending> {
  const { run, pool } = target;
  run.begun = true;
  for (;;) {
    const lease = await leaseFor(run, pool, signal);
    if (sharedNow() - run.held.takenAtMs > LOCK_DURATION_MS && (await isSettled(run, deps))) {
      // This process was stopped since the task was taken, or the start took long, and others have seen to it.
      await lease.done({ healthy: true, graceMs: deps.killGraceMs });
      return cancelled(stopOf(signal));
    }
    run.instanceId = lease.instance.instanceId;
    run.coldStart ||= lease.cold;
    try {
      return await callOnce(target, lease, deps, signal);
    } catch (thrown) {
      if (signal.aborted || !(thrown instanceof InstanceError) || thrown.code !== 'INSTANCE_LOST') throw thrown;
      const ending = await chargeLoss(run, thrown, deps);
      if (ending !== null) return ending;
    }
  }
}

/** Leases an instance, and notes how long it took to get it, or to find out that there is none. */
async function leaseFor(run: Run, pool: InstancePool, signal: AbortSignal): Promise<Lease> {
  const since = performance.now();
  let loadMs = 0;
  run.nextStartAtMs = null;
  try {
    const lease = await pool.lease(run.ticket.taskId, signal);
    ({ loadMs } = lease);
    return lease;
  } catch (thrown) {
    run.nextStartAtMs = pool.nextStartAtMs;
    throw thrown;
  } finally {
    run.loadMs += loadMs;
    run.startMs += Math.max(0, performance.now() - since - loadMs);
  }
}

async function callOnce(target: Target, lease: Lease, deps: CallDeps, signal: AbortSignal): Promise<Ending> {
  const { run, version, payload } = target;
  const { ticket, output, attempt } = run;
  const { tasks, killGraceMs, logger } = deps;
  const call = {
    taskId: ticket.taskId,
    attempt,
    contentType: ticket.contentType,
    payload,
    headers: ticket.headers,
    http: ticket.http ?? null,
    traceparent: ticket.traceparent ?? null,
    log: output,
    chunks: ticket.stream === undefined ? null : output,
    progress: (json: string) => output.progress(json),
    used: (use: NetworkUse) => noteUse(run, use),
    ...(run.sharedLosses > 0 ? { alone: true } : {}),
  };
  const timed = new TimedCall(lease, { runTimeoutMs: ticket.runTimeoutMs, killGraceMs, logger });
  try {
    const result = await timed.run(call, signal);
    return result === null ? timeout(ticket, timed.runMs) : endingOfResult(run, version, result, tasks.mostBytes);
  } finally {
    run.runMs += timed.runMs;
    run.released = timed.released;
  }
}

/** Counts the death of an instance under a run; returns the run's end where it may not go on, null where it is called again. */
async function chargeLoss(run: Run, loss: InstanceError, { tasks, logger }: CallDeps): Promise<Ending | null> {
  if (hasGivenForGood(run)) return lostInStream(loss.message, loss);
  if (loss instanceof SharedLoss && run.sharedLosses < MAX_SHARED_LOSSES) {
    // Its part in it is not known: next time it has none to share it with.
    run.sharedLosses++;
  } else {
    await tasks.countLoss(run.ticket);
    run.losses++;
  }
  run.recoveries++;
  if (isLostTooOften(run)) return endAsLost(run, loss);
  noteRecovery(run, loss.message, logger);
  if (run.output.chunkCount > 0) run.output.restart(loss.message);
  return null;
}

/** Says in the task's log and in the worker's that it is run again, and why. */
export function noteRecovery(run: Run, reason: string, logger: Logger): void {
  noteInLog(run, `run again (recovery ${run.recoveries}): ${reason}`);
  logEvent(logger, 'task-run-again', { taskId: run.ticket.taskId, recoveries: run.recoveries, reason });
}

async function isSettled({ ticket }: Run, { tasks }: CallDeps): Promise<boolean> {
  return (await tasks.outcome(ticket)) !== null;
}
