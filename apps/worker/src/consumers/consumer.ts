import { setTimeout as sleep } from 'node:timers/promises';
import { logEvent } from '@pilum/core/log/log-events.ts';
import type { HeldJob } from '@pilum/core/queue/held-job.ts';
import type { TaskQueue } from '@pilum/core/queue/task-queue.ts';
import { qualifiedId } from '@pilum/core/redis/keys.ts';
import type { Version } from '@pilum/core/schemas/artifact.ts';
import type { ArtifactRef } from '@pilum/core/schemas/refs.ts';
import { type TransitionTable, transition } from '@pilum/core/states/transition-table.ts';
import { UnknownRecord } from '@pilum/core/store/unknown-record.ts';
import type { InstancePools } from '../pool/instance-pools.ts';
import { DueTimer } from './due-timer.ts';
import { LeftToOthers } from './left-to-others.ts';
import { Offers } from './offers.ts';
import { type ServeDeps, SlotLoop, type SlotOwner } from './serve.ts';

export interface QueueConsumerDeps extends ServeDeps {
  readonly pools: InstancePools;
}

/** Between two tries of a worker that stops to take its offers back, ms. */
const RECALL_AGAIN_MS = 100;

type ConsumerState = 'resting' | 'looking' | 'fetching' | 'held back' | 'closed';

const CONSUMER_TRANSITIONS: TransitionTable<ConsumerState> = {
  resting: ['looking', 'closed'],
  looking: ['fetching', 'resting', 'held back'],
  fetching: ['looking'],
  'held back': ['looking', 'closed'],
  closed: [],
};

/**
 * A worker's tie to one artifact's queue. It fetches a job only for a slot that it holds: backlog stays in Redis, where
 * another worker can take it. A slot that finds no further job beside a warm instance is offered: the next task is handed to
 * it as it is accepted. What becomes of a job in its slot is {@link SlotLoop}'s; this class says when to look for more:
 *
 *                  woken                    a slot and room
 *     resting ──────────────▶           ─────────────────────▶
 *             ◀──────────────  looking                         fetching
 *                 no slot,              ◀─────────────────────
 *                 no job        │   ▲      the answer has come
 *                               │   │
 *            no room, or enough │   │ woken, by room or the end of a task too
 *                               ▼   │
 *                             held back
 *
 * A wake while it looks or fetches makes it look once more. A look that fails, or meets a worker that stops, ends in resting.
 * Out of resting and held back it can be closed, for good.
 */
export class QueueConsumer implements SlotOwner {
  /** Artifact whose tasks it takes, for {@link Slots}. */
  readonly artifact: string;
  readonly #namespace: string;
  readonly #queue: TaskQueue;
  readonly #deps: QueueConsumerDeps;
  readonly #offers: Offers;
  readonly #slotLoop: SlotLoop;
  readonly #due = new DueTimer(() => this.wake());
  readonly #others: LeftToOthers;
  #state: ConsumerState = 'resting';
  #wakes = 0;
  /** The version that its last task was of: how much of it can run here at once. */
  #version: Version | null = null;

  constructor(ref: ArtifactRef, queue: TaskQueue, deps: QueueConsumerDeps) {
    this.#namespace = ref.namespace;
    this.artifact = qualifiedId(ref);
    this.#queue = queue;
    this.#deps = deps;
    this.#others = new LeftToOthers(() => this.wake(), deps.logger);
    this.#offers = new Offers(this.artifact, queue, deps.slots, deps.logger, {
      begin: (job) => this.#slotLoop.beginHanded(job),
      onChange: () => this.tasksChanged(),
    });
    this.#slotLoop = new SlotLoop(this, queue, this.#offers, deps);
  }

  get isIdle(): boolean {
    return this.#slotLoop.count === 0 && this.#offers.count === 0 && !this.#isLooking;
  }

  get #isLooking(): boolean {
    return this.#state === 'looking' || this.#state === 'fetching';
  }

  get wakes(): number {
    return this.#wakes;
  }

  /** Hears that there may be something to fetch. Cheap, and never fails. */
  wake(): void {
    if (this.#state === 'closed') return;
    this.#wakes++;
    if (this.#isLooking) return;
    this.#go('looking');
    void this.#look();
  }

  /** Takes a job that was handed over for a slot that it had offered; false where it has no such offer. */
  handOver(job: HeldJob): boolean {
    return this.#offers.handOver(job);
  }

  /** Recalls offers that no longer have an idle instance. */
  instancesGone(): void {
    const idle = this.#version === null ? 0 : this.#deps.pools.idleOf(this.#namespace, this.#version);
    const without = this.#offers.count - idle;
    if (without > 0) void this.#offers.recall(without);
  }

  /** Closes it, which is to be idle: it hears of nothing any more. */
  close(): void {
    if (this.#state === 'closed') return;
    this.#go('closed');
    this.#stopTimers();
    this.#deps.pools.leaveLine(this.#whenRoom);
    this.#deps.slots.leave(this);
  }

  /** Resolves when all running tasks have ended, and nothing is offered; to be called after `draining` was aborted. */
  async drained(): Promise<void> {
    this.#stopTimers();
    while (this.#slotLoop.count > 0 || this.#isLooking || this.#offers.count > 0) {
      await this.#offers.recall();
      await this.#slotLoop.left();
      // More than a turn only where Redis does not take a recall.
      await sleep(this.#offers.count > 0 ? RECALL_AGAIN_MS : 0);
    }
  }

  /** Says whether there is room here for a task of this version, now that it is known which one it is of. */
  readonly admits = (version: Version | UnknownRecord): boolean => {
    const { pools } = this.#deps;
    if (version instanceof UnknownRecord || !pools.canHold(version)) {
      this.#others.leave(version);
      return false;
    }
    if (this.#version?.version === version.version) return true;
    // Where one version follows the other, a look for more would only take the offers back.
    const mayBeginMore = this.#version === null || this.#state === 'held back';
    this.#version = version;
    this.tasksChanged();
    if (pools.isOverfull) return false;
    if (mayBeginMore) this.wake();
    return true;
  };

  othersWaitForRoom(): boolean {
    return this.#deps.pools.othersWaitForRoom(this.#whenRoom);
  }

  hasIdleInstance(): boolean {
    if (this.#version === null) return false;
    return this.#deps.pools.idleOf(this.#namespace, this.#version) > this.#offers.count;
  }

  expectDue(atMs: number): void {
    this.#due.expect(atMs);
  }

  tasksChanged(): void {
    if (this.#version === null) return;
    const tasks = this.#slotLoop.count + (this.#state === 'fetching' ? 1 : 0);
    this.#deps.pools.claim(this, this.#namespace, this.#version, tasks, this.#offers.standing);
  }

  slotGivenUp(): void {
    if (this.#state === 'held back') this.wake();
  }

  #go(state: ConsumerState): void {
    this.#state = transition('a consumer', CONSUMER_TRANSITIONS, this.#state, state);
  }

  #stopTimers(): void {
    this.#due.close();
    this.#others.close();
  }

  /** Looks for tasks, again for as long as it is woken meanwhile. */
  async #look(): Promise<void> {
    const { slots, draining, logger } = this.#deps;
    let after: 'resting' | 'held back' = 'resting';
    let seen = this.#wakes;
    try {
      do {
        seen = this.#wakes;
        // What is fetched now is to run on the instances that were meant for them.
        await this.#offers.recall();
        after = await this.#takeAll();
      } while (this.#wakes !== seen && !draining.aborted);
      if (draining.aborted) slots.leave(this);
    } catch (error) {
      after = 'resting';
      logEvent(logger, 'fetch-failed', { err: error, artifact: this.artifact });
    }
    this.#go(after);
    if (this.#wakes !== seen) this.wake();
  }

  /** Takes tasks for as long as there are slots, room and tasks. */
  async #takeAll(): Promise<'resting' | 'held back'> {
    const { slots, draining } = this.#deps;
    while (!draining.aborted) {
      if (!this.#mayBegin()) {
        slots.leave(this);
        return 'held back';
      }
      if (!slots.tryTake(this)) return 'resting';
      const job = await this.#fetch();
      if (job === null) return 'resting';
      this.#slotLoop.begin(job);
    }
    return 'resting';
  }

  /** Fetches a job for a slot that is taken; null where there is none, and then the slot is released. */
  async #fetch(): Promise<HeldJob | null> {
    const { slots, pools, tokens, workerId, draining } = this.#deps;
    let job: HeldJob | null = null;
    this.#go('fetching');
    // The room of a task that is being fetched must not be given to another meanwhile.
    this.tasksChanged();
    pools.leaveLine(this.#whenRoom);
    try {
      const fetched = await this.#queue.fetch(tokens.next(), workerId);
      if (fetched.nextDueAtMs !== null && !draining.aborted) this.expectDue(fetched.nextDueAtMs);
      job = fetched.job;
    } finally {
      this.#go('looking');
      if (job === null) {
        this.tasksChanged();
        slots.release(this);
      }
    }
    return job;
  }

  /** Says whether another task may begin. What is fetched should find an instance: a task that waits here could have run elsewhere. */
  #mayBegin(): boolean {
    const { slots, pools } = this.#deps;
    // Of a queue that is new here one task tells how many there may be.
    const { max, concurrency } = this.#version?.spec.pool ?? { max: 1, concurrency: 1 };
    if (this.#slotLoop.count >= max * concurrency || this.#others.isLeft) {
      pools.leaveLine(this.#whenRoom);
      return false;
    }
    // Without a free slot it waits for one, in the order of slots; what there is room for is known when it has its turn.
    if (this.#version === null || !slots.hasFree) return true;
    const hasRoom = pools.hasRoom(this.#namespace, this.#version, this.#whenRoom);
    // What is offered to others may have the room that is missing.
    if (!hasRoom) slots.recallOldest();
    return hasRoom;
  }

  readonly #whenRoom = (): void => this.wake();
}
