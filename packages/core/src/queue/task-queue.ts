import type { RedisQueueBackend } from 'bullmq';
import type { Redis } from 'ioredis';
import { ArtifactError, SystemError, TaskError } from '../errors/pilum-error.ts';
import { artifactKeys, CHANNEL_WORK, qualifiedId, taskKeys } from '../redis/keys.ts';
import { sharedNow } from '../redis/shared-time.ts';
import type { ArtifactRef } from '../schemas/refs.ts';
import { parseTicket, payloadSize, type Ticket } from '../schemas/task.ts';
import { ACTIVE_FOR_MS, type ArtifactList } from '../store/artifact-list.ts';
import { unsettledLifetimeS } from '../store/task-store.ts';
import { ACCEPT, OVERDUE, RENEW_DEADLINE, REWRITE_TICKET } from './accept.ts';
import { bullPriority, isLockMissing, jobOptions } from './bull-format.ts';
import type { ConnectionAge } from './connection-age.ts';
import { END } from './end.ts';
import { FETCH } from './fetch.ts';
import {
  type Ended,
  type Fetched,
  type HeldJob,
  heldJob,
  type JobEnd,
  type JobFields,
  type JobLock,
  justHanded,
  type Recalled,
} from './held-job.ts';
import { HOLD } from './hold.ts';
import { LOCK_DURATION_MS, LOCK_RENEWAL_MS } from './lock-times.ts';
import { RECALL } from './recall.ts';
import { type IdFilter, type QueuedState, taskIds } from './task-ids.ts';

/** From a connect to the first check for stalled jobs: two renewals, ms. */
const RECONNECT_GRACE_MS = 2 * LOCK_RENEWAL_MS;
/** An artifact with work is put on the list of active ones again after so long, ms; it stays there for longer. */
const LIST_AGAIN_MS = ACTIVE_FOR_MS / 3;
/** Entries of BullMQ's own event stream per queue; nothing of ours reads it. */
const KEPT_EVENTS = 100;

/** Jobs of one queue by state. */
export interface QueueCounts {
  /** Delayed ones included. */
  readonly waiting: number;
  readonly active: number;
  /** Jobs that wait and are not due yet. */
  readonly delayed: number;
}

/** The limits of a queue. */
export interface BacklogLimits {
  /** Tasks that wait. */
  readonly tasks: number;
  /** Payloads of all tasks that are not settled, bytes. */
  readonly bytes: number;
}

export interface AcceptOptions {
  readonly limits: BacklogLimits;
  /** The payload's bytes where they do not travel in the ticket. */
  readonly payload: Buffer | null;
  /** After this moment of Redis's clock the task must not be accepted any more, ms since 1970; null for no limit. */
  readonly notAfterMs: number | null;
}

/** One artifact's queue. How a job gets to a slot is known here and nowhere else. */
export class TaskQueue {
  /** `<namespace>/<artifactId>` */
  readonly qualifiedId: string;
  readonly #redis: Redis;
  readonly #connection: ConnectionAge;
  readonly #backend: RedisQueueBackend;
  readonly #artifactKeys: ReturnType<typeof artifactKeys>;
  /** Beginning of all keys of the queue, those of its jobs as well. */
  readonly #queueKeys: string;
  readonly #ref: ArtifactRef;
  readonly #active: ArtifactList;
  /** Time at which this process put the artifact on the list of active ones, on the clock of this process. */
  #listedAt = Number.NEGATIVE_INFINITY;

  constructor(
    redis: Redis,
    active: ArtifactList,
    connection: ConnectionAge,
    backend: RedisQueueBackend,
    artifact: ArtifactRef,
  ) {
    this.#redis = redis;
    this.#active = active;
    this.#ref = artifact;
    this.#connection = connection;
    this.#backend = backend;
    this.qualifiedId = qualifiedId(artifact);
    this.#artifactKeys = artifactKeys(artifact);
    this.#queueKeys = this.#artifactKeys.queueKeys;
  }

  /** Sets what BullMQ keeps of its own; once, when the artifact is made. */
  async configure(): Promise<void> {
    await this.#backend.setQueueMeta({ 'opts.maxLenEvents': KEPT_EVENTS });
  }

  /**
   * Accepts a task, all or nothing, in one round trip: its payload is stored, and its job is handed to a slot that is
   * offered, or put in line, and the workers told. A task that is in the queue or settled already is not added again.
   * @throws TaskError `QUEUE_FULL`; ArtifactError `ARTIFACT_NOT_FOUND`; SystemError `REDIS_UNAVAILABLE` where Redis got to it too late
   */
  async accept(ticket: Ticket, { limits, payload, notAfterMs }: AcceptOptions): Promise<void> {
    this.#noteActive();
    const { artifactId, taskId, acceptedAtMs, dueAtMs } = ticket;
    const sizeBytes = payloadSize(ticket);
    const staging = payload === null ? null : this.#redis.set(taskKeys(ticket).stagedPayload, payload, 'EX', STAGED_S);
    // A failure of the first is the reason of any failure of the second.
    staging?.catch(() => undefined);
    const accepting = ACCEPT.run(this.#redis, {
      queue: this.#queueKeys,
      taskId,
      ticket: JSON.stringify(ticket),
      options: jobOptions(ticket),
      acceptedAtMs,
      dueAtMs,
      payloadBytes: sizeBytes,
      mostWaiting: limits.tasks,
      mostBytes: limits.bytes,
      refuseAfterMs: notAfterMs ?? 0,
      stagedForS: payload === null ? '' : unsettledLifetimeS(ticket),
      priority: bullPriority(ticket.priority),
    });
    accepting.catch(() => undefined);
    await staging;
    const [answer, found = 0] = (await accepting) as [number, number?];
    if (answer === TOO_LATE) {
      throw new SystemError('REDIS_UNAVAILABLE', {
        message: 'Redis was away for so long that the task was not accepted.',
      });
    }
    if (answer === DELETED) {
      throw new ArtifactError('ARTIFACT_NOT_FOUND', {
        message: `Artifact ${artifactId} was deleted in this moment.`,
        details: { artifactId },
      });
    }
    if (answer === FULL_OF_TASKS) throw queueFull(artifactId, { waiting: found, maxBacklog: limits.tasks });
    if (answer === FULL_OF_BYTES) {
      throw queueFull(artifactId, { bytes: found, payloadBytes: sizeBytes, maxBacklogBytes: limits.bytes });
    }
  }

  /** The ticket of a task that is not settled yet and whether a worker has begun it; null where there is no job. */
  async read(taskId: string): Promise<{ ticket: Ticket; state: QueuedState; startedAtMs: number | null } | null> {
    const [[data, processedOn, finishedOn], lock] = await Promise.all([
      this.#redis.hmget(this.#backend.toKey(taskId), 'data', 'processedOn', 'finishedOn'),
      this.#redis.exists(`${this.#backend.toKey(taskId)}:lock`),
    ]);
    // A failed job is kept for Bull Board only: what became of its task is in the outcome.
    if (typeof data !== 'string' || typeof finishedOn === 'string') return null;
    const running = lock === 1;
    return {
      ticket: parseTicket(data),
      state: running ? 'running' : 'pending',
      startedAtMs: running && typeof processedOn === 'string' ? Number(processedOn) : null,
    };
  }

  /** Ids of tasks that are not settled, newest first. */
  async ids(states: readonly QueuedState[], filter: IdFilter): Promise<string[]> {
    return await taskIds(this.#redis, (list) => this.#backend.toKey(list), states, filter);
  }

  /** Whether it has a job in any state, also a finished one. */
  async isInUse(): Promise<boolean> {
    const counts = await this.#backend.getCounts(['wait', 'active', 'completed', 'failed', 'prioritized', 'delayed']);
    return counts.some((count) => count > 0);
  }

  async counts(): Promise<QueueCounts> {
    const [wait = 0, prioritized = 0, delayed = 0, active = 0] = await this.#backend.getCounts([
      'wait',
      'prioritized',
      'delayed',
      'active',
    ]);
    return { waiting: wait + prioritized + delayed, active, delayed };
  }

  /**
   * The next job for a free slot.
   * @param token a new one: it shows that the job is the worker's
   */
  async fetch(token: string, workerId: string): Promise<Fetched> {
    const now = sharedNow();
    const since = performance.now();
    const answer = await FETCH.run(this.#redis, { queue: this.#queueKeys, nowMs: now, token, workerId });
    const [fields, nextDueAtMs] = answer as [JobFields | null, number | null];
    // An API of a release without the list has accepted it, perhaps.
    if (fields !== null) this.#noteActive();
    const job = fields && { ...this.#held(fields, token), takenAtMs: now };
    const wasBroken = this.#connection.connectedForMs < performance.now() - since;
    return { job: wasBroken ? await this.#oneOfTwo(job, token) : job, nextDueAtMs };
  }

  /** Settles a fetch that may have been sent twice because the connection broke: what the first has taken is found by its token. */
  async #oneOfTwo(second: HeldJob | null, token: string): Promise<HeldJob | null> {
    const [first] = await this.recall([token]);
    if (typeof first !== 'object' || first.ticket.taskId === second?.ticket.taskId) return second;
    if (second === null) return first;
    // Where that fails its lock runs out, and it is recovered.
    await this.giveBack(first).catch(() => undefined);
    return second;
  }

  /** A job that was handed over for an offered slot, from the data in its message. */
  handedOver(data: string, token: string): HeldJob {
    this.#noteActive();
    return justHanded(parseTicket(data), token, this.#queueKeys);
  }

  /**
   * Puts the artifact on the list of active ones, unless this process has done so a moment ago. It is sent before whatever makes it
   * active, so that the housekeeper knows of every queue with work.
   */
  #noteActive(): void {
    const now = performance.now();
    if (now - this.#listedAt < LIST_AGAIN_MS) return;
    this.#listedAt = now;
    this.#active.put(this.#ref).catch(() => {
      this.#listedAt = Number.NEGATIVE_INFINITY;
    });
  }

  /**
   * Ids of tasks that have waited past their queue deadline.
   * @param window which of the waiting tasks to look at: so many, after passing over so many, the oldest first
   */
  async overdue(window: { from: number; count: number }): Promise<string[]> {
    return (await OVERDUE.run(this.#redis, { queue: this.#queueKeys, nowMs: sharedNow(), ...window })) as string[];
  }

  /**
   * Ends a task and its job in one step: records the outcome unless there is one, drops the payload, and takes the next job
   * for the same slot, or offers the slot. May be sent again where Redis did not take it.
   */
  async end(held: HeldJob, { settlement, failure, next }: JobEnd): Promise<Ended> {
    const { ticket } = held;
    const now = sharedNow();
    const answer = await settlement.send(({ args }) =>
      END.run(this.#redis, {
        ...args,
        nowMs: now,
        token: held.token,
        keptData: failure === null ? '' : finishedData(ticket),
        failure: failure ?? '',
        nextToken: next?.token ?? '',
        workerId: next?.workerId ?? '',
        offerSlot: next?.offer === true ? 1 : 0,
      }),
    );
    const [standing, isOurs, job, nextDueAtMs, offered] = answer as [
      string | null,
      number,
      JobFields | null,
      number | null,
      number,
    ];
    if (isOurs === 0 && next !== null) {
      // Where it was sent before, the job that it took then, or its offer, is found by the token.
      const [found] = await this.recall([next.token]);
      return { standing, wasOurs: false, job: typeof found === 'object' ? found : null, nextDueAtMs, offered: false };
    }
    return {
      standing,
      wasOurs: isOurs === 1,
      job: job && { ...this.#held(job, next?.token ?? ''), takenAtMs: now },
      nextDueAtMs,
      offered: offered === 1,
    };
  }

  /**
   * Takes offers of slots back.
   * @param tokens what each was offered with
   * @returns what became of each, in the same order
   */
  async recall(tokens: readonly string[]): Promise<Recalled[]> {
    const answers = (await RECALL.run(this.#redis, { queue: this.#queueKeys, tokens })) as (number | JobFields)[];
    return answers.map((answer, index) => {
      if (typeof answer === 'object') return this.#held(answer, tokens[index] ?? '');
      return answer === 1 ? 'recalled' : 'unknown';
    });
  }

  /**
   * Puts a job off until its next attempt is due.
   * @param next the ticket of that attempt
   * @throws Error where the job is not ours any more
   */
  async retry(held: HeldJob, next: Ticket): Promise<void> {
    const now = sharedNow();
    // At least a millisecond: BullMQ takes a delay of 0 for none and would keep the moment of now out of the order.
    const delay = Math.max(1, next.dueAtMs - now);
    const fieldsToUpdate = { data: JSON.stringify(next), opts: jobOptions(next) };
    await this.#holding(held, () =>
      this.#backend.moveToDelayed(next.taskId, now, delay, held.token, { fieldsToUpdate }),
    );
  }

  /** Gives a job that was not begun back to the queue, first in line, and tells the workers. */
  async giveBack(held: HeldJob): Promise<void> {
    await this.#backToLine(held);
    await this.#renewDeadlines([held.ticket.taskId]);
    await this.announce();
  }

  /** Leaves a job that there is no room for to others: first in line, its deadline as it was. */
  async leave(held: HeldJob): Promise<void> {
    await this.#backToLine(held);
    await this.announce();
  }

  async #backToLine(held: HeldJob): Promise<void> {
    const { ticket, token, stalls } = held;
    const { taskId } = ticket;
    if (stalls > (ticket.stalls ?? 0)) {
      // Whoever is handed it next would take it for recovered a second time.
      const noted = JSON.stringify({ ...ticket, stalls });
      await REWRITE_TICKET.run(this.#redis, { job: this.#queueKeys + taskId, token, ticket: noted });
    }
    await this.#holding(held, () => this.#backend.moveJobFromActiveToWait(taskId, token));
  }

  /**
   * Keeps jobs from being taken for stalled, also one whose lock has run out and that nobody has taken since; returns
   * the ids of those that are no longer held.
   */
  async extendLocks(jobs: readonly JobLock[]): Promise<string[]> {
    return (await HOLD.run(this.#redis, {
      active: this.#backend.toKey('active'),
      stalled: this.#backend.toKey('stalled'),
      jobPrefix: this.#backend.toKey(''),
      lockMs: LOCK_DURATION_MS,
      jobs: jobs.flatMap(({ ticket, token }) => [ticket.taskId, token]),
    })) as string[];
  }

  /**
   * Puts jobs whose worker stopped renewing back in line. Does nothing if another process did within the interval, nor soon
   * after Redis was away: locks have run out then, and those who hold the jobs get the time to say so.
   */
  async recoverStalled(): Promise<string[]> {
    if (this.#connection.connectedForMs < RECONNECT_GRACE_MS) return [];
    const recovered = await this.#backend.moveStalledJobsToWait();
    await this.#renewDeadlines(recovered);
    return recovered;
  }

  /** Takes a job that no worker holds out of the queue; false where one holds it or there is none. */
  async remove(taskId: string): Promise<boolean> {
    return (await this.#backend.remove(taskId, false)) === 1;
  }

  async setPaused(paused: boolean): Promise<void> {
    await this.#backend.pause(paused);
    if (!paused) await this.announce();
  }

  /** @param limit tasks running at once over all workers; null for no limit. */
  async setMaxConcurrency(limit: number | null): Promise<void> {
    if (limit === null) await this.#backend.removeQueueMetaFields(['concurrency']);
    else await this.#backend.setQueueMeta({ concurrency: limit });
    await this.announce();
  }

  /** Drops the failed jobs that are kept for Bull Board. What waits or runs stays. */
  async forgetFinished(): Promise<void> {
    const now = sharedNow();
    await Promise.all([
      this.#backend.cleanJobsByState('completed', now, 0),
      this.#backend.cleanJobsByState('failed', now, 0),
    ]);
  }

  /** Tells the workers that there may be something to fetch. */
  async announce(): Promise<void> {
    await this.#redis.publish(CHANNEL_WORK, this.qualifiedId);
  }

  #held(fields: JobFields, token: string): HeldJob {
    return heldJob(fields, token, this.#queueKeys);
  }

  /** Moves a job; where its lock has run out meanwhile and nobody else has it, takes the lock again and moves it then. */
  async #holding<T>(held: HeldJob, move: () => Promise<T>): Promise<T> {
    try {
      return await move();
    } catch (error) {
      if (!isLockMissing(error)) throw error;
      if ((await this.extendLocks([held])).length > 0) throw error;
      return await move();
    }
  }

  async #renewDeadlines(taskIds: readonly string[]): Promise<void> {
    const now = sharedNow();
    await Promise.all(
      taskIds.map((taskId) => RENEW_DEADLINE.run(this.#redis, { job: this.#backend.toKey(taskId), nowMs: now })),
    );
  }
}

/** Returns what is kept of the ticket of a failed job, for Bull Board. */
function finishedData(ticket: Ticket): string {
  const { taskId, namespace, artifactId, version, mode } = ticket;
  const payload: Ticket['payload'] = { encoding: 'redacted', sizeBytes: payloadSize(ticket) };
  return JSON.stringify({ taskId, namespace, artifactId, version, mode, payload });
}

/** Time that a payload waits for the acceptance that is sent behind it, s. */
const STAGED_S = 60;

/** Answers of the script that accepts. */
const TOO_LATE = -1;
const FULL_OF_TASKS = -2;
const FULL_OF_BYTES = -3;
const DELETED = -4;

function queueFull(artifactId: string, details: Record<string, number>): TaskError {
  const isTasks = 'waiting' in details;
  return new TaskError('QUEUE_FULL', {
    message: isTasks
      ? `Artifact ${artifactId} has ${details.waiting} tasks waiting, as many as it may (maxBacklog).`
      : `The tasks of artifact ${artifactId} that are not finished hold ${details.bytes} bytes of payload; with this one it would be more than it may (maxBacklogMiB).`,
    details,
  });
}
