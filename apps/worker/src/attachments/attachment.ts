import { type Fetched, type HeldJob, isNotOurs, type TaskQueue } from '@pilum/core/queue/task-queue.ts';
import { qualifiedId } from '@pilum/core/redis/keys.ts';
import type { Version } from '@pilum/core/schemas/artifact.ts';
import type { Outcome } from '@pilum/core/schemas/task.ts';
import type { Logger } from 'pino';
import type { InstancePools } from '../pool/instance-pools.ts';
import type { Slots, SlotTaker } from '../slots/slots.ts';
import { Interrupted } from '../tasks/running-tasks.ts';
import type { TaskRunner } from '../tasks/task-runner.ts';
import type { LockKeeper } from './lock-keeper.ts';

export interface AttachmentParts {
  readonly workerId: string;
  readonly slots: Slots;
  readonly pools: InstancePools;
  readonly locks: LockKeeper;
  readonly runner: TaskRunner;
  readonly logger: Logger;
  /** Aborted when no task may be begun any more. */
  readonly draining: AbortSignal;
}

/** Longest wait for a delayed job, ms. */
const LONGEST_TIMER_MS = 60_000;

/**
 * A worker's tie to one artifact's queue. It fetches a job only for a slot that it holds: backlog stays in Redis, where
 * another worker can take it.
 */
export class Attachment implements SlotTaker {
  /** Whose tasks it takes, for {@link Slots}. */
  readonly artifact: string;
  readonly #namespace: string;
  readonly #queue: TaskQueue;
  readonly #parts: AttachmentParts;
  readonly #running = new Set<Promise<void>>();
  #pulling = false;
  /** The version that its last task was of: how much of it can run here at once. */
  #version: Version | null = null;
  /** There may be more to fetch than the pool has instances for. */
  #isHeldBack = false;
  #dueTimer: NodeJS.Timeout | undefined;
  #dueAtMs = Number.POSITIVE_INFINITY;
  #pullAgain = false;
  #nextToken = 0;

  constructor(namespace: string, artifactId: string, queue: TaskQueue, parts: AttachmentParts) {
    this.#namespace = namespace;
    this.artifact = qualifiedId(namespace, artifactId);
    this.#queue = queue;
    this.#parts = parts;
  }

  /** Tasks that run now. */
  get running(): number {
    return this.#running.size;
  }

  get isIdle(): boolean {
    return this.#running.size === 0 && !this.#pulling;
  }

  /** There may be something to fetch. Cheap, and never fails. */
  wake(): void {
    if (this.#pulling) {
      this.#pullAgain = true;
      return;
    }
    this.#pulling = true;
    this.#pull()
      .catch((error: unknown) => this.#parts.logger.warn({ err: error }, 'no task could be fetched'))
      .finally(() => {
        this.#pulling = false;
      });
  }

  /** Hears of nothing any more. */
  close(): void {
    clearTimeout(this.#dueTimer);
    this.#parts.slots.leave(this);
  }

  /** Resolves when all running tasks have ended. */
  async drained(): Promise<void> {
    clearTimeout(this.#dueTimer);
    while (this.#running.size > 0 || this.#pulling) {
      await Promise.all(this.#running);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async #pull(): Promise<void> {
    const { slots, draining, workerId } = this.#parts;
    do {
      this.#pullAgain = false;
      while (!draining.aborted) {
        if (!this.#mayBegin()) {
          slots.leave(this);
          break;
        }
        if (!slots.tryTake(this)) break;
        let job: HeldJob | null = null;
        try {
          job = this.#jobOf(await this.#queue.fetch(`${workerId}:${this.#nextToken++}`, workerId));
        } finally {
          if (job === null) slots.release(this);
        }
        if (job === null) break;
        this.#begin(job);
      }
    } while (this.#pullAgain && !draining.aborted);
    if (draining.aborted) slots.leave(this);
  }

  /** What is fetched should find an instance: a task that waits inside a worker could have run on another. */
  #mayBegin(): boolean {
    // Of a queue that is new here one task tells how many there may be.
    const most = this.#version?.spec.pool.max ?? 1;
    this.#isHeldBack = this.#running.size >= most;
    if (this.#isHeldBack) return false;
    return this.#version === null || this.#parts.pools.hasRoom(this.#namespace, this.#version, () => this.wake());
  }

  #claim(): void {
    if (this.#version !== null) this.#parts.pools.claim(this, this.#namespace, this.#version, this.#running.size);
  }

  readonly #learn = (version: Version): void => {
    if (this.#version?.version === version.version) return;
    this.#version = version;
    this.#claim();
    this.wake();
  };

  /** Where there is no job, comes back when the next one falls due. */
  #jobOf({ job, nextDueAtMs }: Fetched): HeldJob | null {
    if (nextDueAtMs === null || this.#parts.draining.aborted) return job;
    const now = Date.now();
    if (nextDueAtMs < this.#dueAtMs || this.#dueAtMs <= now) {
      clearTimeout(this.#dueTimer);
      this.#dueAtMs = nextDueAtMs;
      // What is far off is announced by the housekeeper when its time comes.
      const inMs = Math.min(Math.max(1, nextDueAtMs - now), LONGEST_TIMER_MS);
      this.#dueTimer = setTimeout(() => {
        this.#dueAtMs = Number.POSITIVE_INFINITY;
        this.wake();
      }, inMs);
    }
    return job;
  }

  #begin(job: HeldJob): void {
    const running = this.#serve(job)
      .catch((error: unknown) => {
        // Its lock runs out, and the task is recovered: nothing is lost, but it takes a while.
        this.#parts.logger.error({ err: error, taskId: job.ticket.taskId }, 'a task was left to be recovered');
      })
      .finally(() => {
        this.#running.delete(running);
        this.#claim();
        this.#parts.slots.release(this);
        if (this.#isHeldBack) this.wake();
      });
    this.#running.add(running);
    this.#claim();
  }

  /** One slot's work: this job, and then the next ones for as long as no other artifact waits for the slot. */
  async #serve(first: HeldJob): Promise<void> {
    for (let job: HeldJob | null = first; job !== null; ) job = await this.#serveOne(job);
  }

  /** Ends the job of a settled task; where another has the job by now, it is that one's to end. */
  async #finish(job: HeldJob, outcome: Outcome, fetchNext: boolean): Promise<Fetched> {
    try {
      return await this.#queue.finish(job, failureOf(outcome), fetchNext);
    } catch (error) {
      if (!isNotOurs(error)) throw error;
      this.#parts.logger.info({ taskId: outcome.taskId }, 'the job of a settled task is held by another worker');
      this.wake();
      return { job: null, nextDueAtMs: null };
    }
  }

  async #serveOne(job: HeldJob): Promise<HeldJob | null> {
    const { locks, runner, slots, draining, logger } = this.#parts;
    locks.add(this.#queue, job);
    try {
      const verdict = await runner.run(job, this.#learn);
      if (verdict.kind === 'late') return null;
      if (verdict.kind === 'retry') {
        await this.#queue.retry(job, verdict.next);
        this.#jobOf({ job: null, nextDueAtMs: verdict.next.dueAtMs });
        setImmediate(() => this.wake());
        return null;
      }
      const othersWait = slots.shouldYield(this);
      // In line before the slot is free, or a queue with backlog would not hear of it.
      if (othersWait) setImmediate(() => this.wake());
      return this.#jobOf(await this.#finish(job, verdict.outcome, !othersWait && !draining.aborted));
    } catch (error) {
      if (error instanceof Interrupted) {
        await this.#queue.giveBack(job);
        logger.info({ taskId: job.ticket.taskId }, 'a task was given back to its queue');
        return null;
      }
      throw error;
    } finally {
      locks.remove(this.#queue, job);
    }
  }
}

/**
 * What the queue's own page shows as the reason of a failure: the code alone, because a function's message may hold what
 * it was called with.
 */
function failureOf({ status, error }: Outcome): string | null {
  return status === 'completed' ? null : (error?.code ?? status);
}
