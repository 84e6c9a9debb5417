import { errorFromData, type PilumError, TaskError } from '@pilum/core/errors/pilum-error.ts';
import type { QueuedState } from '@pilum/core/queue/task-ids.ts';
import type { TaskQueues } from '@pilum/core/queue/task-queues.ts';
import { artifactIdOf } from '@pilum/core/redis/keys.ts';
import { sharedNow } from '@pilum/core/redis/shared-time.ts';
import type { TaskRef } from '@pilum/core/schemas/refs.ts';
import type { Outcome, Ticket } from '@pilum/core/schemas/task.ts';
import type { LineRun, OutputStore } from '@pilum/core/store/output-store.ts';
import type { TaskStore } from '@pilum/core/store/task-store.ts';
import { isKnown } from '@pilum/core/store/unknown-record.ts';
import type { ArtifactResolver } from '../artifacts/resolve.ts';
import type { Principal } from '../auth/principal.ts';
import type { OutcomeWaits } from './await-outcome.ts';
import { attemptsOf, type EnvelopeHead, envelopeText, pendingHead, settledHead, settledText } from './envelope.ts';
import type { CompletionEstimate } from './estimate.ts';

export interface ReaderDeps {
  readonly queues: TaskQueues;
  readonly tasks: TaskStore;
  readonly outputs: OutputStore;
  readonly waits: OutcomeWaits;
  readonly resolver: ArtifactResolver;
  readonly estimate: CompletionEstimate;
}

export type Found =
  | { readonly outcome: Outcome }
  | {
      readonly outcome: null;
      readonly ticket: Ticket;
      readonly state: QueuedState;
      readonly startedAtMs: number | null;
    };

/** A task in a list: its envelope without the result, and its outcome if it is settled. */
export interface Entry {
  readonly head: EnvelopeHead;
  readonly outcome: Outcome | null;
}

/** Reads tasks: settled ones from their outcomes, others from their jobs. */
export class TaskReader {
  readonly #deps: ReaderDeps;

  constructor(deps: ReaderDeps) {
    this.#deps = deps;
  }

  /**
   * Returns the envelope of a task as JSON text.
   * @param waitMs how long to wait for the outcome of an unsettled task; 0 for no wait
   * @throws TaskError `TASK_NOT_FOUND`
   */
  async read({ namespace }: Principal, taskId: string, waitMs: number, gone: AbortSignal): Promise<string> {
    const task = { namespace, taskId };
    const found = await this.#find(task);
    if (found.outcome !== null) return await settledText(this.#deps.tasks, found.outcome, { attempts: true });
    const outcome = waitMs > 0 ? await this.#deps.waits.join(task, waitMs, gone) : null;
    if (outcome !== null) return await settledText(this.#deps.tasks, outcome, { attempts: true });
    // The task may have started meanwhile.
    const now = waitMs > 0 ? await this.#find(task) : found;
    if (now.outcome !== null) return await settledText(this.#deps.tasks, now.outcome, { attempts: true });
    const failed = now.ticket.attempt > 1 ? await this.#deps.tasks.attempts(task) : [];
    return envelopeText({ ...(await this.#pendingHead(now)), attempts: attemptsOf(failed, null) }, 'null');
  }

  /** Reads tasks for a list; null for those that no longer exist. */
  async entries(namespace: string, taskIds: readonly string[]): Promise<(Entry | null)[]> {
    return await Promise.all(
      taskIds.map(async (taskId) => {
        try {
          const found = await this.#find({ namespace, taskId });
          const { outcome } = found;
          return { outcome, head: outcome === null ? await this.#pendingHead(found) : settledHead(outcome, true) };
        } catch (error) {
          if (error instanceof TaskError) return null;
          throw error;
        }
      }),
    );
  }

  /**
   * Returns the result of a task, or the error that it ended with.
   * @throws TaskError `TASK_NOT_FOUND`, `TASK_PENDING`
   */
  async result({ namespace }: Principal, taskId: string): Promise<{ contentType: string; body: Buffer } | PilumError> {
    const found = await this.#find({ namespace, taskId });
    if (found.outcome === null) {
      throw new TaskError('TASK_PENDING', {
        message: `The task is ${found.state} and has no result yet.`,
        hint: `Wait for it with GET /v1/tasks/${taskId}?wait=20s.`,
        details: { taskId },
      });
    }
    const { result, error } = found.outcome;
    if (result === undefined) return ownError(taskId, error);
    const body = await this.#deps.tasks.result(found.outcome);
    if (body === null) throw noLongerKept(taskId, 'result');
    return { contentType: result.contentType, body };
  }

  /**
   * Returns the payload of a task.
   * @throws TaskError `TASK_NOT_FOUND`, `TASK_FINISHED` for a completed task, whose payload is no longer kept
   */
  async payload({ namespace }: Principal, taskId: string): Promise<{ contentType: string; body: Buffer }> {
    const { tasks } = this.#deps;
    const task = { namespace, taskId };
    const found = await this.#find(task);
    if (found.outcome?.status === 'completed') {
      throw new TaskError('TASK_FINISHED', {
        message: 'The task has completed, so its payload is no longer kept.',
        details: { taskId, status: 'completed' },
      });
    }
    const ticket = found.outcome === null ? found.ticket : await tasks.ticket(task);
    const body = ticket === null ? null : await tasks.payload(ticket);
    if (ticket === null || body === null) throw taskNotFound(taskId);
    return { contentType: ticket.contentType, body };
  }

  /**
   * Returns the lines that a task has logged so far.
   * @throws TaskError `TASK_NOT_FOUND`
   */
  async log({ namespace }: Principal, taskId: string): Promise<LineRun[]> {
    const task = { namespace, taskId };
    const lines = await this.#deps.outputs.lines(task);
    if (lines.length === 0) await this.#find(task);
    return lines;
  }

  /**
   * Finds a task by its outcome or its job.
   * @throws TaskError `TASK_NOT_FOUND`
   */
  async find({ namespace }: Principal, taskId: string): Promise<Found> {
    return await this.#find({ namespace, taskId });
  }

  async #find(ref: TaskRef): Promise<Found> {
    const { namespace, taskId } = ref;
    const { tasks, queues } = this.#deps;
    const outcome = await tasks.outcome(ref);
    if (outcome !== null) return { outcome };
    const job = await queues.of({ namespace, artifactId: artifactIdOf(taskId) }).read(taskId);
    if (job !== null) return { outcome: null, ...job };
    // The task may have been settled between the two reads.
    const late = await tasks.outcome(ref);
    if (late !== null) return { outcome: late };
    throw taskNotFound(taskId);
  }

  async #pendingHead(found: Exclude<Found, { outcome: Outcome }>): Promise<EnvelopeHead> {
    const { ticket, state, startedAtMs } = found;
    const [estimate, progress] = await Promise.all([
      this.#estimate(found),
      state === 'running' ? this.#deps.outputs.progress(ticket) : null,
    ]);
    const head = pendingHead(ticket, state, estimate, startedAtMs);
    return progress === null ? head : { ...head, progress: JSON.parse(progress) as unknown };
  }

  async #estimate({ ticket, startedAtMs }: Exclude<Found, { outcome: Outcome }>): Promise<number | null> {
    const { resolver, estimate } = this.#deps;
    const view = await resolver.view(ticket);
    const version = view?.versions.find((candidate) => candidate.version === ticket.version);
    // Deleted under the task, or only a newer release can run it.
    if (version === undefined || !isKnown(version)) return null;
    if (startedAtMs === null) {
      const runsMs = await estimate.ofPending(ticket.namespace, version);
      return runsMs === null ? null : Math.max(0, ticket.dueAtMs - sharedNow()) + runsMs;
    }
    return await estimate.ofRunning(ticket.namespace, version, sharedNow() - startedAtMs);
  }
}

export function taskNotFound(taskId: string): TaskError {
  return new TaskError('TASK_NOT_FOUND', {
    message: `There is no task ${taskId} in this namespace.`,
    details: { taskId },
  });
}

/** Makes the error for a task whose record exists but whose payload or result was dropped to save memory. */
export function noLongerKept(taskId: string, what: 'result' | 'payload'): TaskError {
  return new TaskError('NO_LONGER_KEPT', {
    message: `The ${what} of task ${taskId} is no longer kept: the tasks of its artifact or namespace held more than they may, and the oldest go first.`,
    details: { taskId, what },
  });
}

function ownError(taskId: string, error: Outcome['error']): PilumError {
  if (error === undefined) return taskNotFound(taskId);
  return errorFromData({ ...error, details: { ...error.details, taskId } });
}
