import { logEvent } from '@pilum/core/log/log-events.ts';
import { isNotOurs } from '@pilum/core/queue/bull-format.ts';
import type { Ended, HeldJob, SlotTokens } from '@pilum/core/queue/held-job.ts';
import type { TaskQueue } from '@pilum/core/queue/task-queue.ts';
import type { Outcome, Ticket } from '@pilum/core/schemas/task.ts';
import { type Settlement, standingOutcome } from '@pilum/core/store/task-store.ts';
import type { Logger } from 'pino';
import type { LockKeeper } from '../locks/lock-keeper.ts';
import type { Slots, SlotTaker } from '../slots/slots.ts';
import type { Admits } from '../tasks/run-attempt.ts';
import type { RunningTasks } from '../tasks/running-tasks.ts';
import { noteLate, type RunResult, type TaskRunner } from '../tasks/task-runner.ts';
import { NOT_TAKEN, untilTaken } from '../tasks/until-taken.ts';
import type { Offers } from './offers.ts';

export interface ServeDeps {
  readonly workerId: string;
  readonly tokens: SlotTokens;
  readonly slots: Slots;
  readonly locks: LockKeeper;
  readonly running: RunningTasks;
  readonly runner: TaskRunner;
  readonly logger: Logger;
  /** Aborted when no task may be begun any more. */
  readonly draining: AbortSignal;
}

/** The consumer whose slots these are: it knows of its queue, its version and the room for it. */
export interface SlotOwner extends SlotTaker {
  /** Number of times that there may have been something to fetch. */
  readonly wakes: number;
  readonly admits: Admits;
  /** Whether others are to have the room of its tasks first. */
  othersWaitForRoom(): boolean;
  /** Whether an instance stands idle for another offer. */
  hasIdleInstance(): boolean;
  /** Recalls offers that no longer have an idle instance. */
  instancesGone(): void;
  /** Hears when the next delayed job falls due, ms of the shared time. */
  expectDue(atMs: number): void;
  /** Hears that it has a task more or fewer. */
  tasksChanged(): void;
  /** Hears that a slot was given up, though there may be more to run. */
  slotGivenUp(): void;
}

/**
 * State in which a slot is left: `offered` to the next task, with nothing in line (`dry`) or with something that may stand there
 * (`more`).
 */
type Left = 'offered' | 'dry' | 'more';

/**
 * The loop of each slot that a consumer has taken: it runs a job, settles it, and takes the next one in the same step, for as
 * long as no other artifact waits for the slot; where none is in line, the slot is offered to the next task, or released.
 *
 *     take → run → settle and take the next → run → … → offered | released
 */
export class SlotLoop {
  readonly #owner: SlotOwner;
  readonly #queue: TaskQueue;
  readonly #offers: Offers;
  readonly #deps: ServeDeps;
  readonly #serving = new Set<Promise<void>>();

  constructor(owner: SlotOwner, queue: TaskQueue, offers: Offers, deps: ServeDeps) {
    this.#owner = owner;
    this.#queue = queue;
    this.#offers = offers;
    this.#deps = deps;
  }

  /** Slots that are served. */
  get count(): number {
    return this.#serving.size;
  }

  /** Resolves when the slots that are served now are left. */
  async left(): Promise<void> {
    await Promise.all(this.#serving);
  }

  /** Serves a slot that is taken for this job. */
  begin(job: HeldJob): void {
    let left: Left = 'more';
    const serving = this.#serve(job)
      .then((how) => {
        left = how;
      })
      .catch((error: unknown) => this.#leaveToRecovery(error))
      .finally(() => {
        this.#serving.delete(serving);
        this.#owner.tasksChanged();
        if (left !== 'offered') this.#deps.slots.release(this.#owner);
        if (left === 'more') this.#owner.slotGivenUp();
      });
    this.#serving.add(serving);
    this.#owner.tasksChanged();
  }

  /** Serves a slot that was offered and is taken for this job; a worker that takes nothing new leaves the job to others. */
  beginHanded(job: HeldJob): void {
    if (!this.#deps.draining.aborted) {
      this.begin(job);
      return;
    }
    const returning = this.#giveBack(job)
      .catch((error: unknown) => this.#leaveToRecovery(error))
      .finally(() => {
        this.#serving.delete(returning);
        this.#deps.slots.release(this.#owner);
      });
    this.#serving.add(returning);
  }

  async #serve(first: HeldJob): Promise<Left> {
    const since = performance.now();
    let next: HeldJob | Left = first;
    while (typeof next === 'object') next = await this.#serveOne(next, since);
    return next;
  }

  /** Runs a job, and does with it what that has come to. Returns the next job for the slot, or how it is left. */
  async #serveOne(job: HeldJob, since: number): Promise<HeldJob | Left> {
    const { locks, running, runner } = this.#deps;
    locks.add(this.#queue, job);
    const task = running.begin(job.ticket);
    try {
      const result = await runner.run(job, this.#owner.admits, task.signal);
      switch (result.kind) {
        case 'ending':
          return await this.#settle(job, result, task.signal, since);
        case 'retry':
          return await this.#putOff(job, result.next);
        case 'refused':
          await this.#queue.leave(job);
          this.#wakeSoon();
          return 'more';
        case 'interrupted':
          await this.#giveBack(job);
          return 'more';
        case 'late':
          return 'more';
      }
    } finally {
      task.over();
      locks.remove(this.#queue, job);
    }
  }

  /** Settles a task and takes the next one, as soon as Redis takes that. */
  async #settle(
    job: HeldJob,
    { settlement, isOwn }: Extract<RunResult, { kind: 'ending' }>,
    signal: AbortSignal,
    since: number,
  ): Promise<HeldJob | Left> {
    const { logger } = this.#deps;
    const ended = await untilTaken(() => this.#endAndTakeNext(job, settlement, since), signal, logger);
    if (ended === NOT_TAKEN) {
      await this.#giveBack(job);
      return 'more';
    }
    const { standing, next } = ended;
    if (standing !== null && isOwn) noteLate(job.ticket, standing, settlement.outcome.status, logger);
    return next;
  }

  /**
   * Settles a task, ends its job, and takes the next one for the slot or offers the slot, in one step.
   * @param since when the slot was taken, on the clock of `performance.now()`
   */
  async #endAndTakeNext(
    job: HeldJob,
    settlement: Settlement,
    since: number,
  ): Promise<{ standing: Outcome | null; next: HeldJob | Left }> {
    const { slots, tokens, workerId, draining } = this.#deps;
    const owner = this.#owner;
    const othersWait = owner.othersWaitForRoom() || slots.shouldYield(owner, performance.now() - since);
    const token = othersWait || draining.aborted ? null : tokens.next();
    const offer = token !== null && owner.hasIdleInstance() ? this.#offers.prepare(token) : null;
    const { wakes } = owner;
    try {
      const ended = await this.#queue.end(job, {
        settlement,
        failure: failureOf(settlement.outcome),
        next: token === null ? null : { token, workerId, offer: offer !== null },
      });
      this.#hearOfLine(job, ended, othersWait, wakes);
      const handed = offer === null ? null : this.#offers.made(offer, ended.offered);
      if (ended.job !== null && handed === null && !ended.wasOurs) this.#offers.brought(ended.job);
      const standing = standingOutcome(settlement, ended.standing);
      const next = ended.job ?? handed;
      if (next !== null && draining.aborted) {
        await this.#giveBack(next);
        return { standing, next: 'more' };
      }
      if (next !== null) return { standing, next };
      if (!ended.offered) return { standing, next: token === null || !ended.wasOurs ? 'more' : 'dry' };
      // The instance may have gone since.
      owner.instancesGone();
      return { standing, next: 'offered' };
    } catch (error) {
      const handed = offer === null ? null : this.#offers.made(offer, false);
      if (handed !== null) await this.#giveBack(handed);
      throw error;
    }
  }

  /** Tells the owner what the end of a job has shown of the queue's line. */
  #hearOfLine(job: HeldJob, ended: Ended, othersWait: boolean, wakesBefore: number): void {
    const { slots, logger } = this.#deps;
    if (!ended.wasOurs) {
      logEvent(logger, 'job-not-held', { taskId: job.ticket.taskId });
    }
    // In line for the next slot, or a queue with backlog would not hear of it.
    if (othersWait || !ended.wasOurs) this.#wakeSoon();
    this.#expectDue(ended.nextDueAtMs);
    // Nothing is left of what it was in line for, and it would only ask for its own offer. (Of a task that was accepted
    // after this answer was given, the message may have been faster: that was a wake.)
    if (ended.offered && this.#owner.wakes === wakesBefore) slots.leave(this.#owner);
  }

  async #putOff(job: HeldJob, next: Ticket): Promise<Left> {
    await this.#queue.retry(job, next);
    this.#expectDue(next.dueAtMs);
    this.#wakeSoon();
    return 'more';
  }

  /** Gives a job back that is not to be begun, or not to be ended, here. */
  async #giveBack(job: HeldJob): Promise<void> {
    const { taskId } = job.ticket;
    try {
      await this.#queue.giveBack(job);
    } catch (error) {
      if (!isNotOurs(error)) throw error;
    }
    logEvent(this.#deps.logger, 'task-given-back', { taskId });
  }

  #expectDue(atMs: number | null): void {
    if (atMs !== null && !this.#deps.draining.aborted) this.#owner.expectDue(atMs);
  }

  #wakeSoon(): void {
    setImmediate(() => this.#owner.wake());
  }

  /** Its lock runs out, and the task is recovered: nothing is lost, but it takes a while. */
  #leaveToRecovery(error: unknown): void {
    logEvent(this.#deps.logger, 'task-left', { err: error, artifact: this.#owner.artifact });
  }
}

/**
 * Returns what the queue's own page shows as the reason of a failure: the code alone, because a function's message may hold
 * what it was called with.
 */
function failureOf({ status, error }: Outcome): string | null {
  return status === 'completed' ? null : (error?.code ?? status);
}
