import { type HeldJob, LOCK_RENEWAL_MS, type TaskQueue } from '@pilum/core/queue/task-queue.ts';
import type { Logger } from 'pino';

/** Renews the locks of every job that this worker holds, so that no one takes them for stalled. */
export class LockKeeper {
  readonly #logger: Logger;
  readonly #held = new Map<TaskQueue, Set<HeldJob>>();
  #timer: NodeJS.Timeout | undefined;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  open(): void {
    this.#timer = setInterval(() => void this.#renew(), LOCK_RENEWAL_MS);
  }

  add(queue: TaskQueue, job: HeldJob): void {
    const jobs = this.#held.get(queue);
    if (jobs === undefined) this.#held.set(queue, new Set([job]));
    else jobs.add(job);
  }

  remove(queue: TaskQueue, job: HeldJob): void {
    const jobs = this.#held.get(queue);
    jobs?.delete(job);
    if (jobs?.size === 0) this.#held.delete(queue);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #renew(): Promise<void> {
    await Promise.all(
      [...this.#held].map(async ([queue, jobs]) => {
        try {
          const refused = new Set(await queue.extendLocks([...jobs]));
          // One that was finished meanwhile is no loss. The others go on: whoever settles first has the outcome.
          const lost = [...jobs].map((job) => job.ticket.taskId).filter((taskId) => refused.has(taskId));
          if (lost.length > 0) this.#logger.warn({ taskIds: lost }, 'locks could not be renewed');
        } catch (error) {
          this.#logger.warn({ err: error }, 'locks could not be renewed');
        }
      }),
    );
  }
}
