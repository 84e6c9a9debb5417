import { PilumError } from '@pilum/core/errors/pilum-error.ts';
import { redisFailure } from '@pilum/core/redis/redis-failure.ts';
import type { ReplyInbox, Wait } from '@pilum/core/replies/reply-inbox.ts';
import type { TaskRef } from '@pilum/core/schemas/refs.ts';
import type { Outcome } from '@pilum/core/schemas/task.ts';
import type { TaskStore } from '@pilum/core/store/task-store.ts';

/** Time for which Redis remembers a waiter after its wait, s. */
const WAITER_SLACK_S = 5;

/** Keeps all waits of this process for outcomes. A wait ends with the outcome, its time-out, the caller's leaving, or the process. */
export class OutcomeWaits {
  readonly #inbox: ReplyInbox;
  readonly #tasks: TaskStore;
  readonly #waits = new Set<Wait>();

  constructor(inbox: ReplyInbox, tasks: TaskStore) {
    this.#inbox = inbox;
    this.#tasks = tasks;
  }

  /** The channel on which this process hears of outcomes. */
  get channel(): string {
    return this.#inbox.channel;
  }

  /**
   * Waits for the outcome of a task that is about to be added. `add` runs once every reply is sure to be heard.
   * @param gone aborted when the caller leaves: the wait ends, the task goes on
   * @returns null if the wait ended first
   * @throws what `add` throws
   */
  async duringAdd(task: TaskRef, waitMs: number, gone: AbortSignal, add: () => Promise<void>): Promise<Outcome | null> {
    return await this.#wait(task, waitMs, gone, async () => {
      await add();
      return null;
    });
  }

  /** Waits for the outcome of a task that someone else has added. */
  async join(task: TaskRef, waitMs: number, gone: AbortSignal): Promise<Outcome | null> {
    return await this.#wait(task, waitMs, gone, async () => {
      const forS = Math.ceil(waitMs / 1000) + WAITER_SLACK_S;
      // A Redis that refuses writes can still be read, and the inbox reads the record from time to time.
      await this.#tasks.addWaiter(task, this.channel, forS).catch(throwUnlessUnavailable);
      // The task may have been settled before the waiter was added.
      return await this.#tasks.outcome(task);
    });
  }

  /** Ends all waits as if their time were over. */
  endAll(): void {
    for (const wait of this.#waits) wait.end();
  }

  async #wait(
    task: TaskRef,
    waitMs: number,
    gone: AbortSignal,
    begin: () => Promise<Outcome | null>,
  ): Promise<Outcome | null> {
    const wait = this.#inbox.wait(task, waitMs);
    const end = () => wait.end();
    if (gone.aborted) end();
    gone.addEventListener('abort', end, { once: true });
    this.#waits.add(wait);
    // Nothing awaits this promise until `begin` is over, and a rejection would count as unhandled.
    wait.outcome.catch(() => undefined);
    try {
      return (await begin()) ?? (await wait.outcome.catch(nullIfUnavailable));
    } finally {
      gone.removeEventListener('abort', end);
      this.#waits.delete(wait);
      end(); // frees the wait in the inbox
    }
  }
}

/** Turns the absence of Redis into the end of a wait: the task is accepted, and the caller learns where to ask for it later. */
function nullIfUnavailable(error: unknown): null {
  throwUnlessUnavailable(error);
  return null;
}

function throwUnlessUnavailable(error: unknown): void {
  const failure = redisFailure(error);
  if (!(failure instanceof PilumError) || failure.code !== 'REDIS_UNAVAILABLE') throw error;
}
