import { type JobsOptions, Queue, type QueueOptions, type RedisQueueBackend } from 'bullmq';
import type { Redis } from 'ioredis';
import { ArtifactError, SystemError, TaskError } from '../errors/pilum-error.ts';
import { artifactKeys, CHANNEL_WORK, QUEUE_NAME, qualifiedId, taskKeys, ulidOf } from '../redis/keys.ts';
import { FIRST_PRIORITY, LAST_PRIORITY, parseTicket, payloadSize, type Ticket } from '../schemas/task.ts';
import { unsettledLifetimeS } from '../store/task-store.ts';
import { ACCEPT, OVERDUE, RENEW_DEADLINE } from './accept.ts';
import { HOLD } from './hold.ts';
import { LOOK } from './look.ts';

/**
 * A lock is what tells a dead worker's job from a running one. Lock, renewal and the stalled check together bound the
 * recovery: a lock outlives its worker by 5 s, the check looks every 2 s (in each of the
 * housekeeper's rounds, hence a little less) and needs to have seen the job once before.
 */
export const LOCK_DURATION_MS = 5000;
export const LOCK_RENEWAL_MS = 1500;
const STALLED_CHECK_MS = 1900;
/** From a connect to the first check for stalled jobs: two renewals, ms. */
const RECONNECT_GRACE_MS = 2 * LOCK_RENEWAL_MS;

/** Finished jobs that BullMQ keeps per queue and state, for Bull Board. */
const KEPT_JOBS = 100;
/** Entries of BullMQ's own event stream per queue; nothing of ours reads it. */
const KEPT_EVENTS = 100;
/** Ids that are read from a queue at once. */
const ID_PAGE = 1000;
/** How many places an id may stand from where its time of acceptance puts it. */
const ORDER_SLACK = 100;

/** A job as a worker holds it: the ticket, and what proves that it is ours to finish. */
export interface HeldJob {
  readonly ticket: Ticket;
  readonly token: string;
  /** The key that holds the token for as long as the job is ours. */
  readonly lockKey: string;
  /** The list that names the job for as long as nobody has put it back in line. */
  readonly activeKey: string;
  /** How often it was taken from a worker that no longer renewed its lock. */
  readonly stalls: number;
  /** How often it was handed to a worker, this time included. */
  readonly handovers: number;
  /** The task is not begun after this moment, ms since 1970. */
  readonly queueDeadlineMs: number;
}

/** Of a held job, what its lock is renewed with. */
export type JobLock = Pick<HeldJob, 'token'> & { readonly ticket: Pick<Ticket, 'taskId'> };

/** What came of looking for a job. */
export interface Fetched {
  /** Null where none may be begun now. */
  readonly job: HeldJob | null;
  /** When the next delayed job falls due, ms since 1970; null where there is none, or where a job was found. */
  readonly nextDueAtMs: number | null;
}

/** Jobs of one queue by state. */
export interface QueueCounts {
  /** Delayed ones included. */
  readonly waiting: number;
  readonly active: number;
  /** Of those that wait, the ones that are not due yet. */
  readonly delayed: number;
}

/** What there is to do in a queue. */
export interface QueueLook {
  /** Jobs that wait and are not delayed. */
  readonly due: number;
  readonly delayed: number;
  readonly active: number;
  /** When the first of the delayed ones falls due, ms since 1970; null where there is none. */
  readonly nextDueAtMs: number | null;
  /** When the artifact was deleted, ms since 1970; null where it was not. */
  readonly deletedAtMs: number | null;
}

/** How much a queue may hold. */
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

export type QueuedState = 'pending' | 'running';

/** All queues of one process over one shared connection: their number costs no connections. */
export class TaskQueues {
  readonly #redis: Redis;
  readonly #root: Queue;
  readonly #connection: Connection;

  constructor(redis: Redis) {
    this.#redis = redis;
    this.#connection = new Connection(redis);
    // Each BullMQ handle may listen for errors on the shared connection. (BullMQ adds to the number, so that 0, which is
    // no limit to Node, would come to 3.)
    redis.setMaxListeners(Number.POSITIVE_INFINITY);
    const options: QueueOptions & Record<string, unknown> = {
      connection: redis,
      prefix: '{pilum}',
      skipMetasUpdate: true,
      // Read by the scripts that fetch and recover jobs; our recovery count decides, never BullMQ's.
      lockDuration: LOCK_DURATION_MS,
      stalledInterval: STALLED_CHECK_MS,
      maxStalledCount: Number.MAX_SAFE_INTEGER,
    };
    this.#root = new Queue(QUEUE_NAME, options);
    this.#root.on('error', () => undefined); // the owner of the connection hears it as well, and says so
  }

  /** A handle on an artifact's queue; making one costs no round trip. */
  of(namespace: string, artifactId: string): TaskQueue {
    const backend = this.#root.getBackend().forQueue(QUEUE_NAME, artifactKeys(namespace, artifactId).queuePrefix);
    return new TaskQueue(
      this.#redis,
      this.#connection,
      backend as unknown as Backend,
      qualifiedId(namespace, artifactId),
    );
  }

  /** What there is to do in an artifact's queue; cheaper than a handle on it. */
  async look(namespace: string, artifactId: string): Promise<QueueLook> {
    const { queuePrefix, artifact } = artifactKeys(namespace, artifactId);
    const keys = ['wait', 'prioritized', 'delayed', 'active'].map((list) => `${queuePrefix}:${QUEUE_NAME}:${list}`);
    const [due, delayed, active, first, deleted] = (await LOOK.run(this.#redis, [...keys, artifact], [])) as [
      number,
      number,
      number,
      string,
      string,
    ];
    return {
      due,
      delayed,
      active,
      nextDueAtMs: first === '' ? null : Math.floor(Number(first) / DELAYED_SCORE_PER_MS),
      deletedAtMs: deleted === '' ? null : Number(deleted),
    };
  }

  async close(): Promise<void> {
    await this.#root.close();
  }
}

/** Whether a job could not be ended or put off because it is gone, or another worker's by now. */
export function isNotOurs(error: unknown): boolean {
  return error instanceof Error && NOT_OURS.has((error as { code?: unknown }).code as number);
}

const LOCK_MISSING = -2;
/** BullMQ's codes for a job that is missing, has no lock, is not active, or has another's lock (`finishedErrors`). */
const NOT_OURS: ReadonlySet<number> = new Set([-1, LOCK_MISSING, -3, -6]);

/** For how long Redis has been there without a break. */
class Connection {
  #since = Number.NEGATIVE_INFINITY;

  constructor(redis: Redis) {
    let wasReady = redis.status === 'ready';
    redis.on('ready', () => {
      if (wasReady) this.#since = performance.now();
      wasReady = true;
    });
  }

  get connectedForMs(): number {
    return performance.now() - this.#since;
  }
}

/** One artifact's queue. How a job gets to a slot is known here and nowhere else. */
export class TaskQueue {
  readonly #redis: Redis;
  readonly #connection: Connection;
  readonly #backend: Backend;
  readonly #qualifiedId: string;

  constructor(redis: Redis, connection: Connection, backend: Backend, id: string) {
    this.#redis = redis;
    this.#connection = connection;
    this.#backend = backend;
    this.#qualifiedId = id;
  }

  /** Sets what BullMQ keeps of its own; once, when the artifact is made. */
  async configure(): Promise<void> {
    await this.#backend.setQueueMeta({ 'opts.maxLenEvents': KEPT_EVENTS });
  }

  /**
   * Accepts a task: adds its job, stores its payload and tells the workers, all or nothing, in one round trip. A task
   * that is in the queue or settled already is not added again.
   * @throws TaskError `QUEUE_FULL`; ArtifactError `ARTIFACT_NOT_FOUND`; SystemError `REDIS_UNAVAILABLE` where Redis got to it too late
   */
  async accept(ticket: Ticket, { limits, payload, notAfterMs }: AcceptOptions): Promise<void> {
    const { namespace, artifactId, taskId, acceptedAtMs, dueAtMs } = ticket;
    const keys = taskKeys(namespace, taskId);
    const sizeBytes = payloadSize(ticket);
    const staging = payload === null ? null : this.#redis.set(keys.stagedPayload, payload, 'EX', STAGED_S);
    // A failure of the first is the reason of any failure of the second.
    staging?.catch(() => undefined);
    const accepting = ACCEPT.run(
      this.#redis,
      [
        this.#backend.toKey(taskId),
        this.#backend.toKey('wait'),
        this.#backend.toKey('prioritized'),
        this.#backend.toKey('delayed'),
        keys.outcome,
        keys.payload,
        artifactKeys(namespace, artifactId).stats,
        artifactKeys(namespace, artifactId).artifact,
        keys.stagedPayload,
        this.#backend.toKey('pc'),
      ],
      [
        taskId,
        JSON.stringify(ticket),
        jobOptions(ticket),
        acceptedAtMs,
        dueAtMs,
        sizeBytes,
        limits.tasks,
        limits.bytes,
        notAfterMs ?? 0,
        CHANNEL_WORK,
        this.#qualifiedId,
        payload === null ? '' : unsettledLifetimeS(ticket),
        bullPriority(ticket.priority),
      ],
    );
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
    // A finished job is kept for Bull Board only: what became of its task is in the outcome.
    if (typeof data !== 'string' || typeof finishedOn === 'string') return null;
    const running = lock === 1;
    return {
      ticket: parseTicket(data),
      state: running ? 'running' : 'pending',
      startedAtMs: running && typeof processedOn === 'string' ? Number(processedOn) : null,
    };
  }

  /**
   * Ids of tasks that are not settled, newest first.
   * @param filter.before a ULID: only tasks accepted before it
   */
  async ids(states: readonly QueuedState[], filter: { before: string | null; limit: number }): Promise<string[]> {
    const found: string[] = [];
    if (states.includes('running')) found.push(...(await this.#idsIn('active', filter)));
    if (states.includes('pending')) {
      for (const list of ['wait', 'delayed']) found.push(...(await this.#idsIn(list, filter)));
      found.push(...(await this.#prioritizedIds(filter)));
    }
    return [...new Set(found)].sort((a, b) => (ulidOf(a) < ulidOf(b) ? 1 : -1)).slice(0, filter.limit);
  }

  async #idsIn(list: string, filter: { before: string | null; limit: number }): Promise<string[]> {
    const key = this.#backend.toKey(list);
    const isList = list === 'wait' || list === 'active';
    const found: string[] = [];
    // In order of acceptance only nearly (several processes add, lost jobs come back): hence a few more than asked for.
    for (let from = 0; found.length < filter.limit + ORDER_SLACK; from += ID_PAGE) {
      const to = from + ID_PAGE - 1;
      const ids = isList
        ? await this.#redis.lrange(key, from, to)
        : await this.#redis.zrange(key, String(from), String(to), 'REV');
      found.push(...ids.filter((id) => filter.before === null || ulidOf(id) < filter.before));
      if (ids.length < ID_PAGE) break;
    }
    return found;
  }

  /** Of each priority the newest: in order of acceptance they stand only within one. */
  async #prioritizedIds({ before, limit }: { before: string | null; limit: number }): Promise<string[]> {
    const key = this.#backend.toKey('prioritized');
    const ofOne = async (priority: number): Promise<string[]> => {
      const found: string[] = [];
      const least = bullPriority(priority) * PRIORITY_SCORE;
      for (let from = 0; found.length < limit + ORDER_SLACK; from += ID_PAGE) {
        const ids = await this.#redis.zrevrangebyscore(key, least + PRIORITY_SCORE - 1, least, 'LIMIT', from, ID_PAGE);
        found.push(...ids.filter((id) => before === null || ulidOf(id) < before));
        if (ids.length < ID_PAGE) break;
      }
      return found;
    };
    const priorities = Array.from({ length: LAST_PRIORITY - FIRST_PRIORITY + 1 }, (_, i) => FIRST_PRIORITY + i);
    return (await Promise.all(priorities.map(ofOne))).flat();
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

  /** The next job for a free slot. */
  async fetch(token: string, workerId: string): Promise<Fetched> {
    return this.#fetched(await this.#backend.moveToActive(token, workerId), token);
  }

  /**
   * Ids of tasks that have waited past their queue deadline.
   * @param window which of the waiting tasks to look at: so many, after passing over so many, the oldest first
   */
  async overdue(window: { from: number; count: number }): Promise<string[]> {
    const keys = ['wait', 'prioritized', 'delayed'].map((list) => this.#backend.toKey(list));
    return (await OVERDUE.run(this.#redis, keys, [
      this.#backend.toKey(''),
      Date.now(),
      window.from,
      window.count,
    ])) as string[];
  }

  /**
   * Ends a job whose task is settled, drops its payload, and takes the next one for the same slot if asked to.
   * @param failure what Bull Board shows as the reason; null where the task completed.
   * @throws Error where the job is not ours any more: the task has its outcome, so there is nothing to do about it.
   */
  async finish(held: HeldJob, failure: string | null, fetchNext: boolean): Promise<Fetched> {
    const { ticket, token } = held;
    const redacted: Ticket = {
      ...ticket,
      payload: { encoding: 'redacted', sizeBytes: payloadSize(ticket) },
      headers: {},
    };
    const [property, target] =
      failure === null ? (['returnvalue', 'completed'] as const) : (['failedReason', 'failed'] as const);
    const args = this.#backend.moveToFinishedArgs(
      { id: ticket.taskId, opts: { attempts: 1 } },
      failure ?? 'null',
      property,
      { count: KEPT_JOBS },
      target,
      token,
      Date.now(),
      fetchNext,
      { data: JSON.stringify(redacted) },
    );
    return this.#fetched(await this.#holding(held, () => this.#backend.moveToFinished(ticket.taskId, args)), token);
  }

  /**
   * Puts a job off until its next attempt is due.
   * @param next the ticket of that attempt
   * @throws Error where the job is not ours any more
   */
  async retry(held: HeldJob, next: Ticket): Promise<void> {
    const now = Date.now();
    // At least a millisecond: BullMQ takes a delay of 0 for none and would keep the moment of now out of the order.
    const delay = Math.max(1, next.dueAtMs - now);
    const fieldsToUpdate = { data: JSON.stringify(next), opts: jobOptions(next) };
    await this.#holding(held, () =>
      this.#backend.moveToDelayed(next.taskId, now, delay, held.token, { fieldsToUpdate }),
    );
  }

  /** Gives a job that was not begun back to the queue, first in line, and tells the workers. */
  async giveBack(held: HeldJob): Promise<void> {
    await this.#holding(held, () => this.#backend.moveJobFromActiveToWait(held.ticket.taskId, held.token));
    await this.#renewDeadlines([held.ticket.taskId]);
    await this.announce();
  }

  /**
   * Keeps jobs from being taken for stalled, also one whose lock has run out and that nobody has taken since; returns
   * the ids of those that are no longer held.
   */
  async extendLocks(jobs: readonly JobLock[]): Promise<string[]> {
    return (await HOLD.run(
      this.#redis,
      [this.#backend.toKey('active'), this.#backend.toKey('stalled')],
      [this.#backend.toKey(''), LOCK_DURATION_MS, ...jobs.flatMap(({ ticket, token }) => [ticket.taskId, token])],
    )) as string[];
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

  /** Drops the finished jobs that are kept for Bull Board. What waits or runs stays. */
  async forgetFinished(): Promise<void> {
    const now = Date.now();
    await Promise.all([
      this.#backend.cleanJobsByState('completed', now, 0),
      this.#backend.cleanJobsByState('failed', now, 0),
    ]);
  }

  /** Tells the workers that there may be something to fetch. */
  async announce(): Promise<void> {
    await this.#redis.publish(CHANNEL_WORK, this.#qualifiedId);
  }

  #fetched(answer: unknown, token: string): Fetched {
    const [job, , , nextDueAtMs] = answer as [FetchedJob | null | undefined, unknown, unknown, number | undefined];
    if (!job) return { job: null, nextDueAtMs: nextDueAtMs ? Number(nextDueAtMs) : null };
    const ticket = parseTicket(job.data);
    const held: HeldJob = {
      ticket,
      token,
      lockKey: `${this.#backend.toKey(ticket.taskId)}:lock`,
      activeKey: this.#backend.toKey('active'),
      stalls: Number(job.stalledCounter ?? 0),
      handovers: Number(job.attemptsStarted ?? 1),
      queueDeadlineMs: job.opts?.queueDeadlineMs ?? ticket.dueAtMs + ticket.queueMs,
    };
    return { job: held, nextDueAtMs: null };
  }

  /** Moves a job; where its lock has run out meanwhile and nobody else has it, takes the lock again and moves it then. */
  async #holding<T>(held: HeldJob, move: () => Promise<T>): Promise<T> {
    try {
      return await move();
    } catch (error) {
      if ((error as { code?: unknown }).code !== LOCK_MISSING) throw error;
      if ((await this.extendLocks([held])).length > 0) throw error;
      return await move();
    }
  }

  async #renewDeadlines(taskIds: readonly string[]): Promise<void> {
    const now = Date.now();
    await Promise.all(taskIds.map((taskId) => RENEW_DEADLINE.run(this.#redis, [this.#backend.toKey(taskId)], [now])));
  }
}

/** How long a payload waits for the acceptance that is sent behind it, s. */
const STAGED_S = 60;

/** Answers of the script that accepts. */
const TOO_LATE = -1;
const FULL_OF_TASKS = -2;
const FULL_OF_BYTES = -3;
const DELETED = -4;

/** In BullMQ's set of prioritized jobs each priority has so many scores (`getPriorityScore`). */
const PRIORITY_SCORE = 0x100000000;

/** Ours begin at 0, which to BullMQ is none. */
const bullPriority = (priority: number) => priority + 1;

/** In BullMQ's set of delayed jobs each millisecond has so many scores (`getDelayedScore`). */
const DELAYED_SCORE_PER_MS = 4096;

/** What stands in a job's options: BullMQ's own, and the queue wait where scripts find it without reading the ticket. */
function jobOptions({ taskId, dueAtMs, queueMs }: Ticket): string {
  return JSON.stringify({ jobId: taskId, queueMs, queueDeadlineMs: dueAtMs + queueMs });
}

function queueFull(artifactId: string, details: Record<string, number>): TaskError {
  const isTasks = 'waiting' in details;
  return new TaskError('QUEUE_FULL', {
    message: isTasks
      ? `Artifact ${artifactId} has ${details.waiting} tasks waiting, as many as it may (maxBacklog).`
      : `The tasks of artifact ${artifactId} that are not finished hold ${details.bytes} bytes of payload; with this one it would be more than it may (maxBacklogMiB).`,
    details,
  });
}

/**
 * BullMQ's backend, and the one of its methods that is not public: it ends a job and rewrites its data in one script,
 * where the public way would leave the payload in Redis or need a second round trip.
 */
type Backend = Omit<RedisQueueBackend, 'moveToFinishedArgs'> & {
  moveToFinishedArgs(
    job: { id: string; opts: JobsOptions },
    value: string,
    property: 'returnvalue' | 'failedReason',
    keep: { count: number },
    target: 'completed' | 'failed',
    token: string,
    timestamp: number,
    fetchNext: boolean,
    fieldsToUpdate: Record<string, string>,
  ): (string | number | boolean | Buffer)[];
};

interface FetchedJob {
  readonly data: string;
  readonly opts?: { readonly queueDeadlineMs?: number };
  readonly stalledCounter?: number;
  readonly attemptsStarted?: number;
}
