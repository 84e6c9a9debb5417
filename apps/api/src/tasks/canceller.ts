import { TaskError } from '@pilum/core/errors/pilum-error.ts';
import type { TaskQueues } from '@pilum/core/queue/task-queues.ts';
import { artifactIdOf } from '@pilum/core/redis/keys.ts';
import type { Outcome } from '@pilum/core/schemas/task.ts';
import type { TaskStore } from '@pilum/core/store/task-store.ts';
import { cancelledOutcome } from '@pilum/core/store/unrun-outcome.ts';
import type { Principal } from '../auth/principal.ts';
import { taskNotFound } from './task-reader.ts';

/** Cancels tasks, queued or running. */
export class Canceller {
  readonly #tasks: TaskStore;
  readonly #queues: TaskQueues;

  constructor({ tasks, queues }: { tasks: TaskStore; queues: TaskQueues }) {
    this.#tasks = tasks;
    this.#queues = queues;
  }

  /**
   * Cancels a task. Its outcome is `cancelled` from now on, even if a worker finishes it. Cancelling twice is harmless.
   * @returns the outcome
   * @throws TaskError `TASK_NOT_FOUND`, or `TASK_FINISHED` if the task has ended in another way
   */
  async cancel({ namespace }: Principal, taskId: string): Promise<Outcome> {
    const task = { namespace, taskId };
    const queue = this.#queues.of({ namespace, artifactId: artifactIdOf(taskId) });
    const standing = await this.#tasks.outcome(task);
    if (standing !== null) return ifCancelled(standing);
    const job = await queue.read(taskId);
    if (job === null) {
      const late = await this.#tasks.outcome(task);
      if (late === null) throw taskNotFound(taskId);
      return ifCancelled(late);
    }
    const { ticket, state, startedAtMs } = job;
    const how = state === 'running' ? 'while it ran' : 'before it was begun';
    const outcome = cancelledOutcome(ticket, startedAtMs, `The task was cancelled ${how}.`);
    // The outcome comes first: a job removed without one would be a lost task.
    const first = await this.#tasks.settle(ticket, outcome);
    if (first !== null) return ifCancelled(first);
    // A worker may hold the job. The worker is told, and finishes the job itself.
    if (!(await queue.remove(taskId).catch(() => false))) await this.#tasks.announceCancelled(task);
    return outcome;
  }
}

function ifCancelled(outcome: Outcome): Outcome {
  if (outcome.status === 'cancelled') return outcome;
  throw new TaskError('TASK_FINISHED', {
    message: `The task has ended already: it is ${outcome.status}.`,
    details: { taskId: outcome.taskId, status: outcome.status },
  });
}
