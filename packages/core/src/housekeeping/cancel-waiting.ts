import type { TaskQueue } from '../queue/task-queue.ts';
import { firstUlidAt } from '../redis/task-id.ts';
import type { TaskStore } from '../store/task-store.ts';
import { cancelledOutcome } from '../store/unrun-outcome.ts';

/** Tasks that are cancelled at once. */
const PAGE = 200;

/**
 * Cancels what waits in the queue of an artifact that was deleted.
 * @param acceptedUntilMs tasks accepted later belong to a new artifact of the same id
 * @returns how many were cancelled
 */
export async function cancelWaiting(queue: TaskQueue, tasks: TaskStore, acceptedUntilMs: number): Promise<number> {
  const filter = { before: firstUlidAt(acceptedUntilMs + 1), limit: PAGE };
  let cancelled = 0;
  for (;;) {
    const ids = await queue.ids(['pending'], filter);
    const done = await Promise.all(ids.map((taskId) => cancelOne(queue, tasks, taskId)));
    cancelled += done.filter((one) => one.isCancelled).length;
    // Where none of a page could be removed, workers have taken them all: they find the outcome.
    if (!done.some((one) => one.isRemoved)) return cancelled;
  }
}

/** The outcome first: a job that is gone without one would be a lost task. */
async function cancelOne(
  queue: TaskQueue,
  tasks: TaskStore,
  taskId: string,
): Promise<{ isCancelled: boolean; isRemoved: boolean }> {
  const job = await queue.read(taskId);
  if (job === null) return { isCancelled: false, isRemoved: false };
  const { ticket } = job;
  const standing = await tasks.settle(
    ticket,
    cancelledOutcome(ticket, null, `Artifact ${ticket.artifactId} was deleted before the task ran.`),
  );
  return { isCancelled: standing === null, isRemoved: await queue.remove(taskId) };
}
