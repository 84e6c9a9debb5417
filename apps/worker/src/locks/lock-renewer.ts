import type { JobLock } from '@pilum/core/queue/held-job.ts';
import type { TaskQueue } from '@pilum/core/queue/task-queue.ts';

/**
 * Renews locks, queue by queue, and never begins before the last time is answered: while Redis is away one command a
 * queue waits for it, and no more.
 */
export class LockRenewer<Lock extends JobLock> {
  readonly #onRefused: (locks: Lock[]) => void;
  readonly #onError: (error: unknown) => void;
  #isRenewing = false;

  /**
   * @param onRefused hears of locks that have run out, or that another worker has taken: they cannot be renewed again
   * @param onError hears what Redis throws
   */
  constructor(onRefused: (locks: Lock[]) => void, onError: (error: unknown) => void) {
    this.#onRefused = onRefused;
    this.#onError = onError;
  }

  /** Whether the last time is not answered yet. */
  get isRenewing(): boolean {
    return this.#isRenewing;
  }

  /** Never throws: a queue that is gone, or that Redis refuses, is none of the others' business. */
  async renew(byQueue: ReadonlyMap<TaskQueue, readonly Lock[]>): Promise<void> {
    if (this.#isRenewing) return;
    this.#isRenewing = true;
    await Promise.all([...byQueue].map(([queue, locks]) => this.#renewOf(queue, locks)));
    this.#isRenewing = false;
  }

  async #renewOf(queue: TaskQueue, locks: readonly Lock[]): Promise<void> {
    try {
      const refused = new Set(await queue.extendLocks(locks));
      if (refused.size > 0) this.#onRefused(locks.filter(({ ticket }) => refused.has(ticket.taskId)));
    } catch (error) {
      this.#onError(error);
    }
  }
}
