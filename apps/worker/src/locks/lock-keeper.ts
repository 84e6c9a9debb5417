import { setTimeout as sleep } from 'node:timers/promises';
import { Worker as Thread } from 'node:worker_threads';
import { logEvent } from '@pilum/core/log/log-events.ts';
import type { HeldJob } from '@pilum/core/queue/held-job.ts';
import { LOCK_RENEWAL_MS } from '@pilum/core/queue/lock-times.ts';
import type { TaskQueue } from '@pilum/core/queue/task-queue.ts';
import type { RedisTls } from '@pilum/core/redis/redis-tls.ts';
import type { Logger } from 'pino';
import { pauseAfter } from '../pool/start-backoff.ts';
import { LockRenewer } from './lock-renewer.ts';
import {
  type FromLockThread,
  type LockThreadData,
  MAIN_LIFE,
  THREAD_LIFE,
  type ThreadLock,
  type ToLockThread,
} from './lock-wire.ts';
import { HUNG_MS, LIFE_INTERVAL_MS, SILENT_MS, Watchdog } from './watchdog.ts';

/** Between two messages to the thread, in turns of {@link LIFE_INTERVAL_MS}. A task that ends sooner is never sent. */
const TURNS_PER_MESSAGE = 2;
/** A thread that has lived for this long, ms, counts as one that works, when it dies after all. */
const GOOD_LIFE_MS = 60_000;
/** Heap of the thread, which holds a few hundred locks at most times and makes little garbage. */
const THREAD_HEAP = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 128 };
/** Longest time that a thread may take to end by itself, ms. */
const THREAD_END_MS = 1000;

export interface LockKeeperDeps {
  readonly redisUrl: string;
  readonly redisTls?: RedisTls | undefined;
  readonly workerId: string;
  readonly logger: Logger;
}

/** A job that this worker holds. */
interface Held {
  readonly queue: TaskQueue;
  /** The message that it would have been in, had it been sent at once. */
  readonly sinceMessage: number;
  /** Number by which the thread knows it; 0 where it does not. */
  id: number;
}

/**
 * Keeps the locks of every job that this worker holds, so that no one takes them for stalled:
 *
 *     add → (still held after a message or two) → the thread renews it → remove
 *
 * A thread with a connection of its own does it, so that a busy event loop loses nothing; it is told in batches, and a
 * short task costs no message at all, because its first lock outlives it. Where there is no thread, or it shows no
 * life, the main loop renews, and says so. The thread in its turn watches the main loop: see lock-thread.ts.
 */
export class LockKeeper {
  readonly #deps: LockKeeperDeps;
  readonly #life = new Int32Array(new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT));
  readonly #held = new Map<HeldJob, Held>();
  readonly #renewer: LockRenewer<HeldJob>;
  /** By id, what the thread knows. */
  readonly #known = new Map<number, HeldJob>();
  #removed: number[] = [];
  /** Refused to the thread; said at the next turn of those that have not ended by then. */
  #refused: number[] = [];
  #lastId = 0;
  #messages = 0;
  #turns = 0;
  #turnedAtMs = 0;
  #renewedAtMs = 0;
  #thread: Thread | null = null;
  #threadWatch: Watchdog | null = null;
  #threadDeaths = 0;
  #threadStartedAtMs = 0;
  /** Whether Redis keeps the thread waiting: its connection may be dead where that of the main loop is not. */
  #isUnanswered = false;
  #wasSilent = false;
  #timer: NodeJS.Timeout | undefined;
  #restart: NodeJS.Timeout | undefined;
  #closing: Promise<void> | undefined;

  constructor(deps: LockKeeperDeps) {
    this.#deps = deps;
    this.#renewer = new LockRenewer(
      (refused) => this.#sayLost(refused.filter((job) => this.#held.delete(job))),
      (error) => logEvent(deps.logger, 'locks-not-renewed', { err: error }),
    );
  }

  open(): void {
    this.#turnedAtMs = performance.now();
    this.#startThread();
    this.#timer = setInterval(() => this.#turn(), LIFE_INTERVAL_MS);
  }

  add(queue: TaskQueue, job: HeldJob): void {
    this.#held.set(job, { queue, sinceMessage: this.#messages, id: 0 });
  }

  remove(_queue: TaskQueue, job: HeldJob): void {
    const held = this.#held.get(job);
    if (held === undefined) return;
    this.#held.delete(job);
    if (held.id === 0) return;
    this.#known.delete(held.id);
    this.#removed.push(held.id);
  }

  /** Ends the thread and waits for it. May be awaited twice. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    clearInterval(this.#timer);
    clearTimeout(this.#restart);
    const thread = this.#thread;
    if (thread === null) return;
    const ended = Promise.withResolvers<void>();
    thread.once('exit', () => ended.resolve());
    this.#tell({ kind: 'close' });
    await Promise.race([ended.promise, sleep(THREAD_END_MS, undefined, { ref: false })]);
    await thread.terminate();
  }

  #turn(): void {
    Atomics.add(this.#life, MAIN_LIFE, 1);
    const now = performance.now();
    const lateMs = now - this.#turnedAtMs - LIFE_INTERVAL_MS;
    this.#turnedAtMs = now;
    const isLate = lateMs > LOCK_RENEWAL_MS;
    this.#watchThread(now);
    if (++this.#turns % TURNS_PER_MESSAGE === 0 || isLate) this.#sendChanges(isLate);
    if ((!this.#threadLives || this.#isUnanswered) && now - this.#renewedAtMs >= LOCK_RENEWAL_MS) {
      this.#renewedAtMs = now;
      void this.#renewer.renew(this.#byQueue());
    }
  }

  // The thread

  #startThread(): void {
    const { redisUrl, redisTls, workerId, logger } = this.#deps;
    const data: LockThreadData = { redisUrl, redisTls, workerId, logLevel: logger.level, life: this.#life.buffer };
    const thread = new Thread(new URL('./lock-thread.ts', import.meta.url), {
      workerData: data,
      name: 'locks',
      resourceLimits: THREAD_HEAP,
    });
    let failure: unknown;
    thread.on('message', (message: FromLockThread) => this.#hear(message));
    thread.on('error', (error: unknown) => {
      failure = error;
    });
    thread.on('exit', (exitCode) => this.#onThreadEnd(failure, exitCode));
    this.#thread = thread;
    this.#threadStartedAtMs = performance.now();
  }

  /** Tells whether the thread has said that it is ready and has not fallen silent since. If not, the main loop renews. */
  get #threadLives(): boolean {
    return this.#threadWatch !== null && this.#threadWatch.watchedSilenceMs <= SILENT_MS;
  }

  #hear(message: FromLockThread): void {
    switch (message.kind) {
      case 'ready':
        this.#threadWatch = new Watchdog(this.#threadLife(), performance.now());
        break;
      case 'unanswered':
      case 'answered':
        this.#isUnanswered = message.kind === 'unanswered';
        if (this.#isUnanswered) {
          logEvent(this.#deps.logger, 'lock-thread-silent');
        }
        break;
      case 'refused':
        this.#refused.push(...message.ids);
        break;
      case 'failed':
        logEvent(this.#deps.logger, 'locks-not-renewed', { err: message.message });
    }
  }

  #watchThread(nowMs: number): void {
    const watch = this.#threadWatch;
    if (watch === null) return;
    watch.look(this.#threadLife(), nowMs);
    const isSilent = !this.#threadLives;
    if (isSilent && !this.#wasSilent) {
      logEvent(this.#deps.logger, 'lock-thread-hangs');
    }
    this.#wasSilent = isSilent;
    // Its end is heard of as any other.
    if (watch.watchedSilenceMs >= HUNG_MS) void this.#thread?.terminate();
  }

  #threadLife(): number {
    return Atomics.load(this.#life, THREAD_LIFE);
  }

  #onThreadEnd(failure: unknown, exitCode: number): void {
    this.#thread = null;
    this.#threadWatch = null;
    this.#isUnanswered = false;
    this.#wasSilent = false;
    if (this.#closing !== undefined) return;
    // Another one begins with everything that is held.
    this.#known.clear();
    this.#removed = [];
    for (const held of this.#held.values()) held.id = 0;
    const lived = performance.now() - this.#threadStartedAtMs;
    this.#threadDeaths = lived > GOOD_LIFE_MS ? 1 : this.#threadDeaths + 1;
    const againInMs = pauseAfter(this.#threadDeaths);
    logEvent(this.#deps.logger, 'lock-thread-ended', { err: failure, exitCode, againInMs });
    this.#restart = setTimeout(() => this.#startThread(), againInMs);
  }

  #sendChanges(isLate: boolean): void {
    this.#sayLost(this.#refused.splice(0).flatMap((id) => this.#known.get(id) ?? []));
    this.#messages++;
    if (!this.#threadLives) return;
    const added: ThreadLock[] = [];
    for (const [job, held] of this.#held) {
      if (held.id !== 0 || (held.sinceMessage >= this.#messages - 1 && !isLate)) continue;
      held.id = ++this.#lastId;
      this.#known.set(held.id, job);
      const { namespace, artifactId, taskId } = job.ticket;
      added.push({ id: held.id, namespace, artifactId, ticket: { taskId }, token: job.token });
    }
    if (added.length === 0 && this.#removed.length === 0) return;
    this.#tell({ kind: 'changes', added, removed: this.#removed, isLate });
    this.#removed = [];
  }

  #tell(message: ToLockThread): void {
    this.#thread?.postMessage(message);
  }

  // On the main loop

  #byQueue(): Map<TaskQueue, HeldJob[]> {
    const byQueue = new Map<TaskQueue, HeldJob[]>();
    for (const [job, { queue }] of this.#held) {
      const jobs = byQueue.get(queue);
      if (jobs === undefined) byQueue.set(queue, [job]);
      else jobs.push(job);
    }
    return byQueue;
  }

  /** The tasks go on: whoever settles first has the outcome. */
  #sayLost(jobs: readonly HeldJob[]): void {
    if (jobs.length === 0) return;
    const taskIds = jobs.map((job) => job.ticket.taskId);
    logEvent(this.#deps.logger, 'locks-lost', { taskIds });
  }
}
