import {
  type ErrorData,
  InstanceError,
  type PilumError,
  TaskError,
  toPilumError,
} from '@pilum/core/errors/pilum-error.ts';
import type { HeldJob } from '@pilum/core/queue/task-queue.ts';
import type { Version } from '@pilum/core/schemas/artifact.ts';
import type { Outcome, Ticket } from '@pilum/core/schemas/task.ts';
import { INLINE_LIMIT_BYTES, type TaskStore } from '@pilum/core/store/task-store.ts';
import type { Logger } from 'pino';
import { TaskLog } from '../logs/task-log.ts';
import type { InstancePool, Lease } from '../pool/instance-pool.ts';
import type { InstancePools } from '../pool/instance-pools.ts';
import type { CallResult } from '../runtimes/runtime.ts';
import { type Ending, outcomeOf, type RunFacts, storedResult } from './outcomes.ts';
import { Cancelled, Interrupted, type RunningTasks } from './running-tasks.ts';
import type { VersionCache } from './version-cache.ts';

/** How often a task is run again because an instance or a worker died under it. */
const MAX_RECOVERIES = 3;

/** Why a call's signal was aborted; one for all, because nobody reads its stack. */
const TIMED_OUT = new Error('the run timeout was reached');

export interface RunnerParts {
  readonly workerId: string;
  readonly tasks: TaskStore;
  readonly versions: VersionCache;
  readonly pools: InstancePools;
  readonly running: RunningTasks;
  readonly logLimitBytes: number;
  readonly killGraceMs: number;
  readonly logger: Logger;
}

/**
 * Takes one task from its job to its one recorded outcome:
 *
 *     begun before? → still in time? → version, payload → lease → call → result, log → settle
 */
export class TaskRunner {
  readonly #parts: RunnerParts;

  constructor(parts: RunnerParts) {
    this.#parts = parts;
  }

  /**
   * Runs a task and settles it. Every failure of function, instance or code is an outcome.
   * @returns the outcome that stands
   * @throws Interrupted where the worker could not wait for its end; whatever Redis throws, and then the job is left to expire
   */
  async run(held: HeldJob): Promise<Outcome> {
    const { ticket } = held;
    const { tasks, workerId } = this.#parts;
    const run: Run = {
      ticket,
      log: new TaskLog(this.#parts.logLimitBytes),
      recoveries: held.stalls,
      startedAtMs: Date.now(),
      startMs: 0,
      runMs: 0,
      coldStart: false,
      instanceId: null,
    };
    if (held.stalls > 0 || ticket.keyed) {
      // It may have come this way before: its worker died between settling and finishing, or it was added again.
      const standing = await tasks.outcome(ticket.namespace, ticket.taskId);
      if (standing !== null) return standing;
    }
    if (held.stalls > 0) {
      run.recoveries += await tasks.losses(ticket.namespace, ticket.taskId);
      this.#noteRecovery(run, 'its worker stopped renewing its claim on it');
    }
    const signal = this.#parts.running.begin(ticket.namespace, ticket.taskId);
    try {
      const ending = await this.#ending(run, signal);
      return await this.#settle(run, ending, workerId);
    } finally {
      this.#parts.running.end(ticket.namespace, ticket.taskId);
    }
  }

  async #ending(run: Run, signal: AbortSignal): Promise<Ending> {
    const { ticket } = run;
    if (run.recoveries > MAX_RECOVERIES) return failed(lostTooOften(run));
    if (run.startedAtMs > ticket.queueDeadlineMs) {
      const waitedMs = run.startedAtMs - ticket.acceptedAtMs;
      return {
        status: 'timeout',
        error: new TaskError('QUEUE_TIMEOUT', {
          message: `The task waited ${waitedMs} ms in its queue, longer than it may (timeouts.queueMs).`,
          details: { waitedMs },
        }).toData(),
      };
    }
    try {
      const version = await this.#parts.versions.get(ticket.namespace, ticket.artifactId, ticket.version);
      if (version === null) {
        return failed(
          new TaskError('TASK_CANCELLED', {
            message: `Artifact ${ticket.artifactId} was deleted before the task ran.`,
          }),
        );
      }
      const payload = await this.#parts.tasks.payload(ticket);
      if (payload === null) throw new Error(`the payload of ${ticket.taskId} is gone`);
      return await this.#parts.pools.with(ticket.namespace, version, (pool) =>
        this.#callUntilNotLost(run, version, pool, payload, signal),
      );
    } catch (thrown) {
      if (signal.reason instanceof Cancelled) return failed(new TaskError('TASK_CANCELLED'), 'cancelled');
      if (signal.reason instanceof Interrupted) {
        // Whoever runs it next must not meet an instance that is still at it.
        await run.released;
        throw signal.reason;
      }
      const error = toPilumError(thrown);
      if (error.code === 'INTERNAL') this.#parts.logger.error({ err: thrown, taskId: ticket.taskId }, 'a task failed');
      return failed(error);
    }
  }

  /** An instance that dies under the task is a loss, not a failure of the function: the task is run again. */
  async #callUntilNotLost(
    run: Run,
    version: Version,
    pool: InstancePool,
    payload: Buffer,
    signal: AbortSignal,
  ): Promise<Ending> {
    for (;;) {
      const lease = await pool.lease(run.ticket.taskId, signal);
      run.instanceId = lease.instance.instanceId;
      run.startMs = lease.startMs;
      run.coldStart = lease.cold;
      try {
        return await this.#call(run, lease, version, payload, signal);
      } catch (thrown) {
        if (signal.aborted || !(thrown instanceof InstanceError) || thrown.code !== 'INSTANCE_LOST') throw thrown;
        await this.#parts.tasks.countLoss(run.ticket.namespace, run.ticket.taskId);
        run.recoveries++;
        if (run.recoveries > MAX_RECOVERIES) return failed(lostTooOften(run, thrown));
        this.#noteRecovery(run, thrown.message);
      }
    }
  }

  async #call(run: Run, lease: Lease, version: Version, payload: Buffer, signal: AbortSignal): Promise<Ending> {
    const { ticket, log } = run;
    const { killGraceMs } = this.#parts;
    const begun = performance.now();
    const timedOut = Symbol('timed out');
    const ended = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    const atTimeout = new Promise<typeof timedOut>((resolve) => {
      timer = setTimeout(() => {
        ended.abort(TIMED_OUT);
        resolve(timedOut);
      }, ticket.runTimeoutMs);
    });
    const forward = () => ended.abort(signal.reason);
    signal.addEventListener('abort', forward, { once: true });
    const interrupted = rejectionOn(signal);
    let healthy = false;
    try {
      const result = await Promise.race([
        lease.instance.call({
          taskId: ticket.taskId,
          attempt: 1,
          deadlineMs: Date.now() + ticket.runTimeoutMs,
          contentType: ticket.contentType,
          payload,
          headers: ticket.headers,
          traceparent: ticket.traceparent ?? null,
          log,
          signal: ended.signal,
        }),
        atTimeout,
        interrupted.promise,
      ]);
      run.runMs = performance.now() - begun;
      if (result === timedOut) return timeout(ticket, run.runMs);
      healthy = true;
      return await this.#endingOf(ticket, version, result as CallResult);
    } catch (thrown) {
      run.runMs = performance.now() - begun;
      throw thrown;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', forward);
      interrupted.forget();
      // The outcome does not wait for an instance to die; the slot it used does.
      run.released = lease.done({ healthy, graceMs: killGraceMs }).catch((error: unknown) => {
        this.#parts.logger.error({ err: error }, 'an instance could not be stopped');
      });
    }
  }

  async #endingOf(ticket: Ticket, version: Version, result: CallResult): Promise<Ending> {
    if (!result.ok) return { status: 'failed', error: result.error };
    const limitBytes = version.spec.limits.outputMiB * 1_048_576;
    if (result.body.length > limitBytes) {
      throw new InstanceError('OUTPUT_TOO_LARGE', {
        details: { sizeBytes: result.body.length, limitMiB: version.spec.limits.outputMiB },
      });
    }
    if (result.body.length > INLINE_LIMIT_BYTES) await this.#parts.tasks.putResult(ticket, result.body);
    return { status: 'completed', result: storedResult(result.contentType, result.body) };
  }

  async #settle(run: Run, ending: Ending, workerId: string): Promise<Outcome> {
    const { ticket, log } = run;
    const facts: RunFacts = {
      workerId,
      instanceId: run.instanceId,
      attempt: run.instanceId === null ? 0 : 1,
      recoveries: run.recoveries,
      startedAtMs: run.startedAtMs,
      startMs: run.startMs,
      runMs: run.runMs,
      coldStart: run.coldStart,
    };
    const outcome = outcomeOf(ticket, facts, ending, Date.now());
    // Sent together: the log is there before anyone can have heard of the outcome.
    const [, standing] = await Promise.all([
      log.isEmpty ? undefined : this.#parts.tasks.putLogs(ticket, log.toJsonLines()),
      this.#parts.tasks.settle(outcome, ticket.replyTo),
      undefined,
    ]);
    if (standing !== null && ending.status !== 'cancelled') {
      this.#parts.logger.warn(
        { taskId: ticket.taskId, standing: standing.status, late: outcome.status },
        'a late attempt did not change the outcome',
      );
    }
    await run.released;
    return standing ?? outcome;
  }

  #noteRecovery(run: Run, reason: string): void {
    const text = `[pilum] run again (recovery ${run.recoveries} of ${MAX_RECOVERIES}): ${reason}`;
    run.log.write({ atMs: Date.now(), stream: 'log', level: 'warn', text });
    this.#parts.logger.warn({ taskId: run.ticket.taskId, recoveries: run.recoveries, reason }, 'a task is run again');
  }
}

/** What is known of a run so far. */
interface Run {
  readonly ticket: Ticket;
  readonly log: TaskLog;
  readonly startedAtMs: number;
  recoveries: number;
  startMs: number;
  runMs: number;
  coldStart: boolean;
  instanceId: string | null;
  /** Settles when the instance is free again, or gone. */
  released?: Promise<void>;
}

const failed = (error: PilumError, status: 'failed' | 'cancelled' = 'failed'): Ending => ({
  status,
  error: error.toData(),
});

function timeout(ticket: Ticket, ranMs: number): Ending {
  const error: ErrorData = new TaskError('TASK_TIMEOUT', {
    message: `The task ran for ${Math.round(ranMs)} ms, longer than it may (${ticket.runTimeoutMs} ms), and was stopped.`,
    details: { ranMs: Math.round(ranMs), timeoutMs: ticket.runTimeoutMs },
  }).toData();
  return { status: 'timeout', error };
}

function lostTooOften(run: Run, last?: InstanceError): InstanceError {
  return new InstanceError('INSTANCE_LOST', {
    message: `The task was run ${run.recoveries} times, and each time its instance or its worker died.${
      last === undefined ? '' : ` Last: ${last.message}`
    }`,
    details: { ...last?.details, recoveries: MAX_RECOVERIES },
    cause: last,
  });
}

/** A promise that is rejected when the signal is aborted, until it is forgotten. */
function rejectionOn(signal: AbortSignal): { promise: Promise<never>; forget: () => void } {
  const { promise, reject } = Promise.withResolvers<never>();
  promise.catch(() => undefined);
  const onAbort = () => reject(signal.reason);
  if (signal.aborted) onAbort();
  else signal.addEventListener('abort', onAbort, { once: true });
  return { promise, forget: () => signal.removeEventListener('abort', onAbort) };
}
