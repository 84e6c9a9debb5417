import { PilumError } from '@pilum/core/errors/pilum-error.ts';
import { redisFailure } from '@pilum/core/redis/redis-failure.ts';
import type { ReplyInbox, Wait } from '@pilum/core/replies/reply-inbox.ts';
import type { Outcome } from '@pilum/core/schemas/task.ts';
import type { TaskStore } from '@pilum/core/store/task-store.ts';

/** How much longer than the wait itself Redis remembers who waits, s. */
const WAITER_SLACK_S = 5;

/** All waits of one process for outcomes: each ends with its outcome, its time, its caller, or the process. */
export class OutcomeWaits {
  readonly #inbox: ReplyInbox;
  readonly #tasks: TaskStore;
  readonly #waits = new Set<Wait>();

  constructor(inbox: ReplyInbox, tasks: TaskStore) {
    this.#inbox = inbox;
    this.#tasks = tasks;
  }

  /** Channel on which outcomes are heard here. */
  get channel(): string {
    return this.#inbox.channel;
  }

  /**
   * Waits for the outcome of a task that is about to be added; `add` runs when no reply can be missed any more.
   * @param gone aborted when the caller has left: the wait ends, the task goes on
   * @returns null where the wait ended first
   * @throws what `add` throws
   */
  async duringAdd(
    task: { namespace: string; taskId: string },
    waitMs: number,
    gone: AbortSignal,
    add: () => Promise<void>,
  ): Promise<Outcome | null> {
    return await this.#wait(task, waitMs, gone, async () => {
      await add();
      return null;
    });
  }

  /** Waits for the outcome of a task that someone else has added. */
  async join(task: { namespace: string; taskId: string }, waitMs: number, gone: AbortSignal): Promise<Outcome | null> {
    return await this.#wait(task, waitMs, gone, async () => {
      const forS = Math.ceil(waitMs / 1000) + WAITER_SLACK_S;
      // A Redis that takes no writes can still be read, and the inbox looks at the record now and then.
      await this.#tasks.addWaiter(task.namespace, task.taskId, this.channel, forS).catch(throwUnlessUnavailable);
      // It may have been settled before the waiter was known.
      return await this.#tasks.outcome(task.namespace, task.taskId);
    });
  }

  /** Ends every wait, as if its time were over. */
  endAll(): void {
    for (const wait of this.#waits) wait.end();
  }

  async #wait(
    task: { namespace: string; taskId: string },
    waitMs: number,
    gone: AbortSignal,
    begin: () => Promise<Outcome | null>,
  ): Promise<Outcome | null> {
    const wait = this.#inbox.wait(task, waitMs);
    const end = () => wait.end();
    if (gone.aborted) end();
    gone.addEventListener('abort', end, { once: true });
    this.#waits.add(wait);
    // Until `begin` is over no one looks at it.
    wait.outcome.catch(() => undefined);
    try {
      return (await begin()) ?? (await wait.outcome.catch(nullIfUnavailable));
    } finally {
      gone.removeEventListener('abort', end);
      this.#waits.delete(wait);
      end(); // the inbox lets go of it, however this came out
    }
  }
}

/**
 * The task is accepted whatever becomes of the wait for it: a caller who has left, a process that stops and a Redis that
 * is away at the deadline all end the wait, and the caller is told where to ask later.
 */
function nullIfUnavailable(error: unknown): null {
  throwUnlessUnavailable(error);
  return null;
}

function throwUnlessUnavailable(error: unknown): void {
  const failure = redisFailure(error);
  if (!(failure instanceof PilumError) || failure.code !== 'REDIS_UNAVAILABLE') throw error;
}
