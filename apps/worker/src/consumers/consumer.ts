import { setTimeout as sleep } from 'node:timers/promises';
import { isNotOurs } from '@pilum/core/queue/bull-format.ts';
import type { Fetched, HeldJob, SlotTokens } from '@pilum/core/queue/held-job.ts';
import type { TaskQueue } from '@pilum/core/queue/task-queue.ts';
import { qualifiedId } from '@pilum/core/redis/keys.ts';
import type { Version } from '@pilum/core/schemas/artifact.ts';
import type { Outcome } from '@pilum/core/schemas/task.ts';
import { type Settlement, standingOutcome } from '@pilum/core/store/task-store.ts';
import type { Logger } from 'pino';
import type { LockKeeper } from '../locks/lock-keeper.ts';
import type { InstancePools } from '../pool/instance-pools.ts';
import type { Slots, SlotTaker } from '../slots/slots.ts';
import { Interrupted } from '../tasks/running-tasks.ts';
import { Refused, type TaskRunner } from '../tasks/task-runner.ts';
import { DueTimer } from './due-timer.ts';
import { Offers } from './offers.ts';

export interface QueueConsumerDeps {
  readonly workerId: string;
  readonly tokens: SlotTokens;
  readonly slots: Slots;
  readonly pools: InstancePools;
  readonly locks: LockKeeper;
  readonly runner: TaskRunner;
  readonly logger: Logger;
  /** Aborted when no task may be begun any more. */
  readonly draining: AbortSignal;
}

/** How long a queue is left to others whose next task is larger than this worker, ms. */
const LEFT_TO_OTHERS_MS = 5000;
/** Between two tries of a worker that stops to take its offers back, ms. */
const RECALL_AGAIN_MS = 100;

/**
 * How a slot is left: `offered` to the next task, with nothing in line (`dry`) or with something that may stand there
 * (`more`); or with the next job for it.
 */
type Left = HeldJob | 'offered' | 'dry' | 'more';

/**
 * A worker's tie to one artifact's queue. It fetches a job only for a slot that it holds: backlog stays in Redis, where
 * another worker can take it. A slot that finds no further job beside a warm instance is offered: the next task is handed to
 * it as it is accepted.
 */
export class QueueConsumer implements SlotTaker {
  /** Whose tasks it takes, for {@link Slots}. */
  readonly artifact: string;
  readonly #namespace: string;
  readonly #queue: TaskQueue;
  readonly #deps: QueueConsumerDeps;
  readonly #offers: Offers;
  readonly #running = new Set<Promise<void>>();
  #pulling = false;
  /** The version that its last task was of: how much of it can run here at once. */
  #version: Version | null = null;
  /** There may be more to fetch than the pool has instances for, or the worker room. */
  #isHeldBack = false;
  /** A task is being fetched, and its room must not be given to another meanwhile. */
  #isFetching = false;
  /** Runs while the queue is left to others. */
  #leftTimer: NodeJS.Timeout | undefined;
  /** The version that it was last left to others for. */
  #tooLarge = 0;
  readonly #due = new DueTimer(() => this.wake());
  #pullAgain = false;
  /** How often there may have been something to fetch. */
  #wakes = 0;
  #isClosed = false;

  constructor(namespace: string, artifactId: string, queue: TaskQueue, deps: QueueConsumerDeps) {
    this.#namespace = namespace;
    this.artifact = qualifiedId(namespace, artifactId);
    this.#queue = queue;
    this.#deps = deps;
    this.#offers = new Offers(this.artifact, queue, deps.slots, deps.logger, {
      begin: (job) => this.#beginHanded(job),
      onChange: this.#claim,
    });
  }

  get isIdle(): boolean {
    return this.#running.size === 0 && this.#offers.count === 0 && !this.#pulling;
  }

  /** There may be something to fetch. Cheap, and never fails. */
  wake(): void {
    if (this.#isClosed) return;
    this.#wakes++;
    if (this.#pulling) {
      this.#pullAgain = true;
      return;
    }
    this.#pulling = true;
    this.#pull()
      .catch((error: unknown) => this.#deps.logger.warn({ err: error }, 'no task could be fetched'))
      .finally(() => {
        this.#pulling = false;
        // It was woken after the last look.
        if (this.#pullAgain) this.wake();
      });
  }

  /** A job was handed over for a slot that it had offered; false where it has no such offer. */
  handOver(job: HeldJob): boolean {
    return this.#offers.handOver(job);
  }

  /** Instances may have gone: a slot is offered only where one stands ready beside it. */
  instancesGone(): void {
    const idle = this.#version === null ? 0 : this.#deps.pools.idleOf(this.#namespace, this.#version);
    void this.#offers.recall(this.#offers.count - idle);
  }

  /** Hears of nothing any more. */
  close(): void {
    this.#isClosed = true;
    this.#due.close();
    clearTimeout(this.#leftTimer);
    this.#deps.pools.leaveLine(this.#whenRoom);
    this.#deps.slots.leave(this);
  }

  /** Resolves when all running tasks have ended, and nothing is offered; to be called after `draining` was aborted. */
  async drained(): Promise<void> {
    this.#due.close();
    clearTimeout(this.#leftTimer);
    while (this.#running.size > 0 || this.#pulling || this.#offers.count > 0) {
      await this.#offers.recall();
      await Promise.all(this.#running);
      // More than a turn only where Redis does not take a recall.
      await sleep(this.#offers.count > 0 ? RECALL_AGAIN_MS : 0);
    }
  }

  async #pull(): Promise<void> {
    const { slots, pools, draining, workerId, tokens } = this.#deps;
    do {
      this.#pullAgain = false;
      // What is fetched now is to run on the instances that were meant for them.
      await this.#offers.recall();
      while (!draining.aborted) {
        if (!this.#mayBegin()) {
          slots.leave(this);
          break;
        }
        if (!slots.tryTake(this)) break;
        let job: HeldJob | null = null;
        this.#isFetching = true;
        this.#claim();
        pools.leaveLine(this.#whenRoom);
        try {
          job = this.#jobOf(await this.#queue.fetch(tokens.next(), workerId));
        } finally {
          this.#isFetching = false;
          if (job === null) {
            this.#claim();
            slots.release(this);
          }
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
    const { slots, pools } = this.#deps;
    const { max, concurrency } = this.#version?.spec.pool ?? { max: 1, concurrency: 1 };
    const most = max * concurrency;
    if (this.#running.size >= most || this.#leftTimer !== undefined) {
      this.#isHeldBack = true;
      pools.leaveLine(this.#whenRoom);
      return false;
    }
    // Without a free slot it waits for one, in the order of slots; what there is room for is known when it has its turn.
    if (this.#version === null || !slots.hasFree) {
      this.#isHeldBack = false;
      return true;
    }
    const hasRoom = pools.hasRoom(this.#namespace, this.#version, this.#whenRoom);
    // What is offered to others may have the room that is missing.
    if (!hasRoom) slots.recallOldest();
    this.#isHeldBack = !hasRoom;
    return hasRoom;
  }

  readonly #whenRoom = (): void => this.wake();

  readonly #claim = (): void => {
    if (this.#version === null) return;
    const tasks = this.#running.size + (this.#isFetching ? 1 : 0);
    this.#deps.pools.claim(this, this.#namespace, this.#version, tasks, this.#offers.standing);
  };

  /** Hears of which version a task is; false where there is no room for it here, or not now. */
  readonly #admit = (version: Version): boolean => {
    const { pools } = this.#deps;
    if (!pools.canHold(version)) {
      this.#leaveToOthers(version);
      return false;
    }
    if (this.#version?.version === version.version) return true;
    // Where one version follows the other, a look for more would only take the offers back.
    const mayBeginMore = this.#version === null || this.#isHeldBack;
    this.#version = version;
    this.#claim();
    if (pools.isOverfull) return false;
    if (mayBeginMore) this.wake();
    return true;
  };

  #leaveToOthers({ artifactId, version, spec }: Version): void {
    if (this.#tooLarge !== version) {
      const { cpu, memoryMiB } = spec.limits;
      this.#deps.logger.warn(
        { artifactId, version, cpu, memoryMiB },
        'a task is left to other workers: it is too large for this one, or its runtime does not work here at the moment',
      );
    }
    this.#tooLarge = version;
    clearTimeout(this.#leftTimer);
    this.#leftTimer = setTimeout(() => {
      this.#leftTimer = undefined;
      this.wake();
    }, LEFT_TO_OTHERS_MS);
  }

  /** Comes back when the next delayed job falls due. */
  #jobOf({ job, nextDueAtMs }: Fetched): HeldJob | null {
    if (nextDueAtMs !== null && !this.#deps.draining.aborted) this.#due.expect(nextDueAtMs);
    return job;
  }

  /** Runs a job in a slot that is taken for it, and then the next ones for as long as no other artifact waits for the slot. */
  #begin(first: HeldJob): void {
    let left: Left = first;
    const since = performance.now();
    const serve = async () => {
      while (typeof left === 'object') left = await this.#serveOne(left, since);
    };
    const running = serve()
      .catch((error: unknown) => {
        // Its lock runs out, and the task is recovered: nothing is lost, but it takes a while.
        this.#deps.logger.error({ err: error, artifact: this.artifact }, 'a task was left to be recovered');
        left = 'more';
      })
      .finally(() => {
        this.#running.delete(running);
        this.#claim();
        if (left !== 'offered') this.#deps.slots.release(this);
        if (this.#isHeldBack && left === 'more') this.wake();
      });
    this.#running.add(running);
    this.#claim();
  }

  /** Runs a job that was handed over, in a slot that is taken for it; a worker that takes nothing new leaves it to others. */
  #beginHanded(job: HeldJob): void {
    if (!this.#deps.draining.aborted) {
      this.#begin(job);
      return;
    }
    const returning = this.#giveBack(job)
      .catch((error: unknown) => this.#deps.logger.error({ err: error }, 'a task was left to be recovered'))
      .finally(() => {
        this.#running.delete(returning);
        this.#deps.slots.release(this);
      });
    this.#running.add(returning);
  }

  async #serveOne(job: HeldJob, since: number): Promise<Left> {
    const { locks, runner } = this.#deps;
    locks.add(this.#queue, job);
    let left: Left = 'more';
    try {
      const verdict = await runner.run(job, this.#admit, async (settlement) => {
        const ended = await this.#end(job, settlement, since);
        left = ended.left;
        return ended.standing;
      });
      if (verdict.kind === 'retry') {
        await this.#queue.retry(job, verdict.next);
        this.#jobOf({ job: null, nextDueAtMs: verdict.next.dueAtMs });
        setImmediate(() => this.wake());
      }
      return left;
    } catch (error) {
      if (error instanceof Interrupted) {
        await this.#giveBack(job);
        return 'more';
      }
      if (error instanceof Refused) {
        await this.#queue.leave(job);
        setImmediate(() => this.wake());
        return 'more';
      }
      throw error;
    } finally {
      locks.remove(this.#queue, job);
    }
  }

  /**
   * Settles a task and ends its job, and says what that has left for the slot.
   * @param since when the slot was taken, on the clock of `performance.now()`
   */
  async #end(job: HeldJob, settlement: Settlement, since: number): Promise<{ standing: Outcome | null; left: Left }> {
    const { slots, pools, tokens, workerId, draining, logger } = this.#deps;
    const othersWait = pools.othersWaitForRoom(this.#whenRoom) || slots.shouldYield(this, performance.now() - since);
    const token = othersWait || draining.aborted ? null : tokens.next();
    const offer = token !== null && this.#hasIdleInstance() ? this.#offers.prepare(token) : null;
    const wakes = this.#wakes;
    try {
      const failure = failureOf(settlement.outcome);
      const ended = await this.#queue.end(job, {
        settlement,
        failure,
        next: token === null ? null : { token, workerId, offer: offer !== null },
      });
      if (!ended.wasOurs) {
        logger.info({ taskId: job.ticket.taskId }, 'the job of a settled task was not held by this worker any more');
      }
      // In line for the next slot, or a queue with backlog would not hear of it.
      if (othersWait || !ended.wasOurs) setImmediate(() => this.wake());
      const fetched = this.#jobOf(ended);
      // Nothing is left of what it was in line for, and it would only ask for its own offer. (Of a task that was accepted
      // after this answer was given, the message may have been faster: that was a wake.)
      if (ended.offered && this.#wakes === wakes) slots.leave(this);
      const handed = offer === null ? null : this.#offers.made(offer, ended.offered);
      if (fetched !== null && handed === null && !ended.wasOurs) this.#offers.brought(fetched);
      const standing = standingOutcome(settlement, ended.standing);
      const next = fetched ?? handed;
      if (next !== null && draining.aborted) {
        await this.#giveBack(next);
        return { standing, left: 'more' };
      }
      if (next !== null) return { standing, left: next };
      if (!ended.offered) return { standing, left: token === null || !ended.wasOurs ? 'more' : 'dry' };
      // The instance may have gone since.
      this.instancesGone();
      return { standing, left: 'offered' };
    } catch (error) {
      const handed = offer === null ? null : this.#offers.made(offer, false);
      if (handed !== null) await this.#giveBack(handed);
      throw error;
    }
  }

  #hasIdleInstance(): boolean {
    if (this.#version === null) return false;
    return this.#deps.pools.idleOf(this.#namespace, this.#version) > this.#offers.count;
  }

  /** Gives a job back that is not to be begun here. */
  async #giveBack(job: HeldJob): Promise<void> {
    const { taskId } = job.ticket;
    try {
      await this.#queue.giveBack(job);
    } catch (error) {
      if (!isNotOurs(error)) throw error;
    }
    this.#deps.logger.info({ taskId }, 'a task was given back to its queue');
  }
}

/**
 * What the queue's own page shows as the reason of a failure: the code alone, because a function's message may hold what
 * it was called with.
 */
function failureOf({ status, error }: Outcome): string | null {
  return status === 'completed' ? null : (error?.code ?? status);
}
