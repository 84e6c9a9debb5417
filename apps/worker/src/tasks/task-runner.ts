import { setTimeout as sleep } from 'node:timers/promises';
import { errorFromData, InstanceError, SystemError, TaskError, toPilumError } from '@pilum/core/errors/pilum-error.ts';
import type { HeldJob } from '@pilum/core/queue/held-job.ts';
import { LOCK_DURATION_MS } from '@pilum/core/queue/lock-times.ts';
import { redisFailure } from '@pilum/core/redis/redis-failure.ts';
import { sharedNow } from '@pilum/core/redis/shared-time.ts';
import type { Version } from '@pilum/core/schemas/artifact.ts';
import type { FailedAttempt, Outcome, Ticket } from '@pilum/core/schemas/task.ts';
import type { OutputStore } from '@pilum/core/store/output-store.ts';
import { INLINE_LIMIT_BYTES, type Settlement, type Suspicion, type TaskStore } from '@pilum/core/store/task-store.ts';
import { queueTimeout } from '@pilum/core/store/unrun-outcome.ts';
import type { Logger } from 'pino';
import type { StreamedTasks } from '../output/streamed-tasks.ts';
import { type OutputLimits, TaskOutput } from '../output/task-output.ts';
import type { InstancePool, Lease } from '../pool/instance-pool.ts';
import type { InstancePools } from '../pool/instance-pools.ts';
import { isStartedAgain } from '../pool/start-again.ts';
import { type CallResult, SharedLoss } from '../runtimes/contract/runtime.ts';
import type { Beginning, Beginnings } from './beginnings.ts';
import {
  failed,
  lostInStream,
  lostTooOften,
  lostWithWorkers,
  maxRecoveries,
  SUSPECT_AFTER,
  timeout,
} from './endings.ts';
import { type Ending, outcomeOf, type RunFacts, round, storedResult } from './outcomes.ts';
import { backoffMs, isRetryable, nextTicket, ticketOfNextStart } from './retry.ts';
import { Cancelled, Interrupted, type RunningTasks, Unread } from './running-tasks.ts';
import { TimedCall } from './timed-call.ts';
import type { VersionCache } from './version-cache.ts';
import { giveWhole } from './whole-output.ts';

/** Tasks that wait for the same start come back within this, ms, and not all at once. */
const SPREAD_MS = 250;
/** Between two tries to write what a task came to, ms. */
const WRITE_AGAIN_MS = 250;

/** How often what a task shared with others may die under it before that counts as its own loss: from the first time on it is run alone. */
const MAX_SHARED_LOSSES = 3;

const UNREAD = {
  message: 'The stream had no reader for a while, and was not started with detach=true: its task was cancelled.',
};

export interface RunnerDeps {
  readonly workerId: string;
  readonly tasks: TaskStore;
  readonly versions: VersionCache;
  readonly pools: InstancePools;
  readonly running: RunningTasks;
  readonly beginnings: Beginnings;
  readonly outputs: OutputStore;
  readonly outputLimits: OutputLimits;
  readonly streamed: StreamedTasks;
  readonly killGraceMs: number;
  readonly logger: Logger;
}

/** Whoever took the task has no room for it: nothing of it was begun, and another may run it. */
export class Refused extends Error {}

/**
 * Ends a task and its job together.
 * @returns null where the task has this outcome now, else the one that it had before
 */
export type EndTask = (settlement: Settlement) => Promise<Outcome | null>;

/** What has become of a job: it was ended, or another attempt is to follow, or others are ahead of this one. */
export type Verdict =
  | { readonly kind: 'ended' }
  | { readonly kind: 'retry'; readonly next: Ticket }
  | { readonly kind: 'late' };

/**
 * Takes one task from its job to its one recorded outcome, or to its next attempt:
 *
 *     begun before? → still in time? → version, payload → lease → call → result, log → end, or record the attempt
 */
export class TaskRunner {
  readonly #deps: RunnerDeps;

  constructor(deps: RunnerDeps) {
    this.#deps = deps;
  }

  /**
   * Runs one attempt at a task. Every failure of function, instance or code is an outcome, or an attempt on record.
   * @param admits is told which version it is of as soon as that is known, and says whether there is room for it
   * @param end is called at the end, when the instance is back in its pool or gone; again where Redis did not take it
   * @throws Refused where there is none; Interrupted where the worker could not wait for its end; whatever Redis throws,
   *   and then the job is left to expire
   */
  async run(held: HeldJob, admits: (version: Version) => boolean, end: EndTask): Promise<Verdict> {
    const { ticket } = held;
    const { outputs, outputLimits, streamed } = this.#deps;
    const output = new TaskOutput({
      store: outputs,
      limits: outputLimits,
      sender: streamed.channel,
      ticket,
      token: held.token,
      pacing: streamed.begin(ticket),
    });
    try {
      return await this.#run(held, output, admits, end);
    } finally {
      output.close();
      streamed.end(ticket);
    }
  }

  async #run(held: HeldJob, output: TaskOutput, admits: (version: Version) => boolean, end: EndTask): Promise<Verdict> {
    const { ticket } = held;
    const { tasks } = this.#deps;
    const run: Run = {
      held,
      ticket,
      output,
      attempt: ticket.attempt,
      recoveries: held.stalls,
      losses: 0,
      sharedLosses: 0,
      suspicion: { begun: 0, alone: 0 },
      startedAtMs: sharedNow(),
      since: performance.now(),
      unpackMs: 0,
      startMs: 0,
      loadMs: 0,
      runMs: 0,
      coldStart: false,
      nextStartAtMs: null,
      begun: false,
      instanceId: null,
      released: null,
    };
    if (held.handovers > 1 || ticket.keyed) {
      // It may have come this way before: its worker died between settling and finishing, or it was added again.
      const standing = await tasks.outcome(ticket.namespace, ticket.taskId);
      if (standing !== null) return await this.#endAs(standing, ticket, end);
      run.losses = await tasks.losses(ticket.namespace, ticket.taskId);
      run.recoveries += run.losses;
      if (held.stalls >= SUSPECT_AFTER) run.suspicion = await tasks.suspicion(ticket.namespace, ticket.taskId);
    }
    if (held.handovers > 1 || ticket.attempt > 1) await output.resume();
    if (held.stalls > (ticket.stalls ?? 0)) {
      const failed = await tasks.attempts(ticket.namespace, ticket.taskId);
      run.attempt = failed.length + 1;
      const last = failed.at(-1);
      if (last !== undefined && last.attempt === ticket.attempt) {
        // Its worker died between recording the attempt and putting the job off.
        return { kind: 'retry', next: nextTicket(ticket, held.stalls, last.attempt, last.retryAtMs) };
      }
      output.attempt = run.attempt;
      this.#noteRecovery(run, 'its worker stopped renewing its claim on it');
    }
    const signal = this.#deps.running.begin(ticket.namespace, ticket.taskId);
    try {
      const ending = await this.#ending(run, signal, admits);
      return (
        (await this.#startAgain(run, ending, signal)) ??
        (await this.#retry(run, ending, signal, end)) ??
        (await this.#settle(run, ending, signal, end))
      );
    } finally {
      this.#deps.running.end(ticket.namespace, ticket.taskId);
    }
  }

  async #ending(run: Run, signal: AbortSignal, admits: (version: Version) => boolean): Promise<Ending> {
    const { ticket, output } = run;
    if (isLostTooOften(run)) return this.#lostTooOften(run);
    const given = lostWithWorkers(run.held.stalls, run.suspicion);
    if (given !== null) {
      // The last loss was followed by no further run.
      run.recoveries--;
      return given;
    }
    if (output.chunkCount > 0) {
      if (ticket.stream?.restart !== true) return lostInStream('The worker that ran it was lost');
      output.restart('The run before it came to nothing.');
    }
    if (run.startedAtMs > run.held.queueDeadlineMs) return { status: 'timeout', error: queueTimeout(ticket).toData() };
    try {
      const version = await this.#deps.versions.get(ticket.namespace, ticket.artifactId, ticket.version);
      if (version === null) {
        return failed(
          new TaskError('TASK_CANCELLED', {
            message: `Artifact ${ticket.artifactId} was deleted before the task ran.`,
          }),
        );
      }
      run.version = version;
      if (!admits(version)) throw new Refused();
      const payload = await this.#deps.tasks.payload(ticket);
      if (payload === null) throw new Error(`the payload of ${ticket.taskId} is gone`);
      const begun = isSuspect(run)
        ? await this.#beginAlone(run, signal)
        : (this.#deps.beginnings.tryBegin() ?? (await this.#deps.beginnings.begin(signal)));
      try {
        return await this.#deps.pools.with(ticket.namespace, version, (pool, unpackMs) => {
          run.unpackMs = unpackMs;
          return this.#callUntilNotLost(run, version, pool, payload, signal);
        });
      } finally {
        begun.over();
      }
    } catch (thrown) {
      if (thrown instanceof Refused) throw thrown;
      if (signal.reason instanceof Unread) return failed(new TaskError('TASK_CANCELLED', UNREAD), 'cancelled');
      if (thrown instanceof Cancelled || signal.reason instanceof Cancelled)
        return failed(new TaskError('TASK_CANCELLED'), 'cancelled');
      if (signal.reason instanceof Interrupted) {
        // Whoever runs it next must not meet an instance that is still at it.
        await run.released;
        if (output.chunkCount > 0 && ticket.stream?.restart !== true)
          return lostInStream('The worker that ran it was stopped');
        if (run.instanceId !== null && maxRecoveries(ticket) === 0) return this.#lostTooOften(run);
        this.#note(run, 'given back by a worker that stops');
        await output.finish().catch(() => undefined);
        throw signal.reason;
      }
      const error = toPilumError(thrown);
      if (error.code === 'INTERNAL') this.#deps.logger.error({ err: thrown, taskId: ticket.taskId }, 'a task failed');
      return failed(error);
    }
  }

  /**
   * Begins a task that has run on workers that died: alone, so that it is known of the next one whether this task is why. That it
   * is at it stands in Redis meanwhile, as nobody is left to write it afterwards.
   */
  async #beginAlone(run: Run, signal: AbortSignal): Promise<Beginning> {
    const { beginnings, tasks, logger } = this.#deps;
    const { ticket, held, suspicion } = run;
    const { taskId } = ticket;
    const clear = (of: Suspicion) =>
      void tasks.noteSuspicion(ticket, of).catch((error: unknown) => {
        logger.warn({ err: error, taskId }, 'a task under suspicion was not cleared of this run');
      });
    const { begun, alone } = suspicion;
    const beginning = await beginnings.beginAlone(signal, () => clear({ begun: begun + 1, alone }));
    try {
      await tasks.noteSuspicion(ticket, { begun: begun + 1, alone: alone + 1 });
      this.#note(run, `${held.stalls} workers died under it: it begins alone on this one`);
      logger.warn({ taskId, workersLost: held.stalls, ...suspicion }, 'a task under suspicion begins alone');
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

  /** An instance that dies under the task is a loss, not a failure of the function: the task is run again. */
  async #callUntilNotLost(
    run: Run,
    version: Version,
    pool: InstancePool,
    payload: Buffer,
    signal: AbortSignal,
  ): Promise<Ending> {
    run.begun = true;
    for (;;) {
      const lease = await this.#lease(run, pool, signal);
      if (sharedNow() - run.held.takenAtMs > LOCK_DURATION_MS && (await this.#isSettled(run))) {
        // This process was stopped since the task was taken, or the start took long, and others have seen to it.
        await lease.done({ healthy: true, graceMs: this.#deps.killGraceMs });
        throw new Cancelled();
      }
      run.instanceId = lease.instance.instanceId;
      run.coldStart ||= lease.cold;
      try {
        return await this.#call(run, lease, version, payload, signal);
      } catch (thrown) {
        if (signal.aborted || !(thrown instanceof InstanceError) || thrown.code !== 'INSTANCE_LOST') throw thrown;
        const { output, ticket } = run;
        if (output.chunkCount > 0 && ticket.stream?.restart !== true) return lostInStream(thrown.message, thrown);
        if (thrown instanceof SharedLoss && run.sharedLosses < MAX_SHARED_LOSSES) {
          // Its part in it is not known: next time it has none to share it with.
          run.sharedLosses++;
        } else {
          await this.#deps.tasks.countLoss(ticket);
          run.losses++;
        }
        run.recoveries++;
        if (isLostTooOften(run)) return this.#lostTooOften(run, thrown);
        this.#noteRecovery(run, thrown.message);
        if (output.chunkCount > 0) output.restart(thrown.message);
      }
    }
  }

  /** An instance, and how long it took to get it, or to find out that there is none. */
  async #lease(run: Run, pool: InstancePool, signal: AbortSignal): Promise<Lease> {
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

  async #call(run: Run, lease: Lease, version: Version, payload: Buffer, signal: AbortSignal): Promise<Ending> {
    const { ticket, output, attempt } = run;
    const { killGraceMs, logger } = this.#deps;
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
      ...(run.sharedLosses > 0 ? { alone: true } : {}),
    };
    const timed = new TimedCall(lease, { runTimeoutMs: ticket.runTimeoutMs, killGraceMs, logger });
    try {
      const result = await timed.run(call, signal);
      return result === null ? timeout(ticket, timed.runMs) : this.#endingOf(run, version, result);
    } finally {
      run.runMs += timed.runMs;
      run.released = timed.released;
    }
  }

  #endingOf(run: Run, version: Version, result: CallResult): Ending {
    if (!result.ok) return { status: 'failed', error: result.error };
    const limitBytes = version.spec.limits.outputMiB * 1_048_576;
    if (result.body.length > limitBytes) {
      throw new InstanceError('OUTPUT_TOO_LARGE', {
        details: { sizeBytes: result.body.length, limitMiB: version.spec.limits.outputMiB },
      });
    }
    const { mostBytes } = this.#deps.tasks;
    if (result.body.length > mostBytes) {
      throw new InstanceError('OUTPUT_TOO_LARGE', {
        message: `The result has ${result.body.length} bytes; all results of an artifact together may have ${mostBytes} (PILUM_KEPT_MIB).`,
        hint: 'Return less, or in chunks of a stream. Operator: raise PILUM_KEPT_MIB.',
        details: { sizeBytes: result.body.length, keptBytes: mostBytes },
      });
    }
    // Whoever reads a web endpoint's answer takes a whole one from the outcome.
    const { stream, http } = run.ticket;
    if (stream !== undefined && http === undefined && result.streamed !== true) giveWhole(run.output, result);
    if (result.body.length > INLINE_LIMIT_BYTES) run.result = result.body;
    return { status: 'completed', result: storedResult(result) };
  }

  /** Puts a task off whose function was not begun, because no instance could be had; null where it ends with that. */
  async #startAgain(run: Run, ending: Ending, signal: AbortSignal): Promise<Verdict | null> {
    const { ticket, nextStartAtMs, held, output } = run;
    if (nextStartAtMs === null || ending.status !== 'failed') return null;
    const failures = (ticket.starts?.failures ?? 0) + 1;
    if (!isStartedAgain(errorFromData(ending.error), failures)) return null;
    const now = sharedNow();
    const dueAtMs = Math.max(now, nextStartAtMs) + Math.ceil(Math.random() * SPREAD_MS);
    const next = ticketOfNextStart(ticket, held.stalls, dueAtMs);
    if (next === null) return null;
    const { code, message } = ending.error;
    this.#note(run, `no instance could be started, the next start follows in ${dueAtMs - now} ms: ${code}: ${message}`);
    await this.#untilRedisTakesIt(signal, () => output.finish());
    return { kind: 'retry', next };
  }

  /** Records an attempt that failed where another may help and is allowed; null where this one was the last. */
  async #retry(run: Run, ending: Ending, signal: AbortSignal, end: EndTask): Promise<Verdict | null> {
    const { ticket, attempt, version, output } = run;
    if (ending.status === 'completed' || ending.status === 'cancelled' || version === undefined) return null;
    if (attempt >= ticket.maxAttempts || !run.begun || !isRetryable(ending.error.code)) return null;
    if (output.chunkCount > 0 && ticket.stream?.restart !== true) return null;
    const now = sharedNow();
    const pauseMs = backoffMs(version.spec.retry.backoff, attempt, Math.random());
    const { code, message } = ending.error;
    this.#note(
      run,
      `attempt ${attempt} of ${ticket.maxAttempts} failed, the next follows in ${pauseMs} ms: ${code}: ${message}`,
    );
    const failed: FailedAttempt = {
      attempt,
      workerId: this.#deps.workerId,
      instanceId: run.instanceId,
      startedAtMs: run.startedAtMs,
      finishedAtMs: now,
      runMs: round(run.runMs),
      error: ending.error,
      retryAtMs: now + pauseMs,
    };
    const next = nextTicket(ticket, run.held.stalls, attempt, failed.retryAtMs);
    await this.#untilRedisTakesIt(signal, () => output.finish());
    const recorded = await this.#untilRedisTakesIt(signal, () =>
      this.#deps.tasks.recordAttempt(next, failed, run.held),
    );
    await run.released;
    if (typeof recorded === 'object') {
      this.#noteLate(ticket, recorded, ending);
      return await this.#endAs(recorded, ticket, end);
    }
    if (recorded === 'recorded') return { kind: 'retry', next };
    this.#deps.logger.warn({ taskId: ticket.taskId, attempt }, 'a late attempt was not recorded');
    return { kind: 'late' };
  }

  async #settle(run: Run, ending: Ending, signal: AbortSignal, end: EndTask): Promise<Verdict> {
    const { ticket, output, held } = run;
    const { tasks, workerId } = this.#deps;
    if (output.hasAdded || ticket.stream !== undefined) {
      await this.#untilRedisTakesIt(signal, () => output.finish());
    }
    if (ticket.stream !== undefined && output.isSuperseded) {
      // The stream is of another run by now: with this outcome it would end in the middle of that.
      this.#deps.logger.warn({ taskId: ticket.taskId }, 'a late end of a stream was not recorded');
      return { kind: 'late' };
    }
    // Of a task of which nothing was added, and that is most: they need no command of their own.
    const log = output.takeLog();
    const facts: RunFacts = {
      workerId,
      instanceId: run.instanceId,
      attempt: run.begun ? run.attempt : run.attempt - 1,
      recoveries: run.recoveries,
      startedAtMs: run.startedAtMs,
      // What is counted nowhere else, so that nothing is missing: mostly it was for Redis.
      fetchMs: Math.max(0, performance.now() - run.since - run.unpackMs - run.startMs - run.loadMs - run.runMs),
      unpackMs: run.unpackMs,
      startMs: run.startMs,
      loadMs: run.loadMs,
      runMs: run.runMs,
      coldStart: run.coldStart,
      frames: output.frames,
      progress: output.lastProgress,
    };
    const outcome = outcomeOf(ticket, facts, ending, sharedNow());
    const isFirstRun = held.handovers === 1 && run.attempt === 1 && run.recoveries === 0;
    const settlement = tasks.settlement(ticket, outcome, {
      ...(log === undefined ? {} : { log }),
      ...(run.result === undefined ? {} : { result: run.result }),
      isAlone: isFirstRun && 'data' in ticket.payload && !output.hasAdded,
    });
    if (run.released !== null) {
      // The caller does not wait until the instance is gone; the slot that it used does.
      await this.#untilRedisTakesIt(signal, () => tasks.settleAs(settlement));
      await run.released;
    }
    const standing = await this.#untilRedisTakesIt(signal, () => end(settlement));
    if (standing !== null) this.#noteLate(ticket, standing, ending);
    return { kind: 'ended' };
  }

  /** Ends the job of a task that has its outcome. */
  async #endAs(standing: Outcome, ticket: Ticket, end: EndTask): Promise<Verdict> {
    await end(this.#deps.tasks.settlement(ticket, standing));
    return { kind: 'ended' };
  }

  /**
   * A Redis that is there and takes no writes (out of memory, loading, read-only) will take them again: what a task came
   * to is kept until then, for as long as the worker may wait.
   */
  async #untilRedisTakesIt<T>(signal: AbortSignal, write: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await write();
      } catch (error) {
        const failure = redisFailure(error);
        if (!(failure instanceof SystemError) || failure.code !== 'REDIS_UNAVAILABLE') throw error;
        if (signal.reason instanceof Interrupted) throw signal.reason;
        this.#deps.logger.warn({ err: error }, 'Redis does not take what a task came to; trying again');
        await sleep(WRITE_AGAIN_MS);
      }
    }
  }

  async #isSettled({ ticket }: Run): Promise<boolean> {
    return (await this.#deps.tasks.outcome(ticket.namespace, ticket.taskId)) !== null;
  }

  #noteLate({ taskId }: Ticket, standing: Outcome, { status }: Ending): void {
    if (status === 'cancelled') return; // that it was settled from outside is how it got here
    this.#deps.logger.warn(
      { taskId, standing: standing.status, late: status },
      'a late attempt did not change the outcome',
    );
  }

  #lostTooOften(run: Run, last?: InstanceError): Ending {
    // The last loss was followed by no further run.
    run.recoveries--;
    return lostTooOften(run.ticket, last);
  }

  #noteRecovery(run: Run, reason: string): void {
    this.#note(run, `run again (recovery ${run.recoveries}): ${reason}`);
    this.#deps.logger.warn({ taskId: run.ticket.taskId, recoveries: run.recoveries, reason }, 'a task is run again');
  }

  /** A line of Pilum's own in the task's log. */
  #note(run: Run, text: string): void {
    run.output.write({ atMs: sharedNow(), stream: 'log', level: 'warn', text: `[pilum] ${text}` });
  }
}

const isSuspect = ({ held }: Run) => held.stalls >= SUSPECT_AFTER;

/** Deaths of workers are not charged; but a task that may never be run again is not, whatever died under it. */
function isLostTooOften({ ticket, losses, recoveries }: Run): boolean {
  const most = maxRecoveries(ticket);
  return losses > most || (most === 0 && recoveries > 0);
}

/** What is known of a run so far. */
interface Run {
  readonly held: HeldJob;
  readonly ticket: Ticket;
  readonly output: TaskOutput;
  readonly startedAtMs: number;
  /** 1, 2, 3 … */
  attempt: number;
  /** How often it was run again, after a worker or an instance. */
  recoveries: number;
  /** Instances that died under it. */
  losses: number;
  /** What it shared with others died under it so often. */
  sharedLosses: number;
  suspicion: Suspicion;
  /** When it was taken up, on the clock of `performance.now()`. */
  readonly since: number;
  unpackMs: number;
  startMs: number;
  loadMs: number;
  runMs: number;
  coldStart: boolean;
  /** Where no instance could be had: when another start may be tried, ms since 1970. */
  nextStartAtMs: number | null;
  /** An instance was asked for: from then on it counts as an attempt. */
  begun: boolean;
  instanceId: string | null;
  version?: Version;
  /** A result that is too large to lie in the outcome. */
  result?: Buffer;
  /** Settles when the instance is free again, or gone. */
  released: Promise<void> | null;
}
