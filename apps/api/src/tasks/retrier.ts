import { TaskError, toPilumError } from '@pilum/core/errors/pilum-error.ts';
import type { TaskQueues } from '@pilum/core/queue/task-queues.ts';
import { artifactIdOf } from '@pilum/core/redis/keys.ts';
import { sharedNow } from '@pilum/core/redis/shared-time.ts';
import { newTaskId } from '@pilum/core/redis/task-id.ts';
import type { TaskRef } from '@pilum/core/schemas/refs.ts';
import type { ErrorBody, Ticket } from '@pilum/core/schemas/task.ts';
import type { TaskStore } from '@pilum/core/store/task-store.ts';
import { isKnown } from '@pilum/core/store/unknown-record.ts';
import type { ArtifactResolver } from '../artifacts/resolve.ts';
import type { Principal } from '../auth/principal.ts';
import { bodyOf } from '../http/answer-error.ts';
import type { Acceptor } from './acceptor.ts';
import { ticketPayload } from './payload.ts';
import { queueWaitMs } from './queue-wait.ts';
import { type Changes, limitsOf, type NewPayload, NO_CHANGES, nameOfRetry, newPayload, referenceOf } from './replay.ts';
import type { TaskFilter, TaskList } from './task-list.ts';
import { noLongerKept, taskNotFound } from './task-reader.ts';

export interface RetrierDeps {
  readonly tasks: TaskStore;
  readonly queues: TaskQueues;
  readonly resolver: ArtifactResolver;
  readonly acceptor: Acceptor;
  readonly list: TaskList;
  /** Limit of a payload, bytes. */
  readonly payloadLimitBytes: number;
}

export interface RetryPage {
  readonly retried: readonly { readonly taskId: string; readonly retryOf: string }[];
  readonly refused: readonly { readonly retryOf: string; readonly error: ErrorBody }[];
  /** Value of `before` for the next page; null for the last page. */
  readonly next: string | null;
}

/** Number of tasks to retry concurrently. */
const AT_ONCE = 16;

/**
 * Retries tasks by hand. Outcomes never change, so a retry is a new task with the payload, version and limits of the old one, or with
 * another version or payload. Asking again for the same retry, even concurrently, gives the same task.
 */
export class Retrier {
  readonly #deps: RetrierDeps;

  constructor(deps: RetrierDeps) {
    this.#deps = deps;
  }

  /**
   * Retries one task.
   * @returns the ticket of the new task, or of the one that an earlier retry has made
   * @throws TaskError `TASK_NOT_FOUND`, `TASK_PENDING`, `TASK_FINISHED` for a completed task, `NO_LONGER_KEPT`, `QUEUE_FULL`;
   *   ArtifactError if the version cannot run; RequestError `PAYLOAD_TOO_LARGE`
   */
  async retry(
    { namespace }: Principal,
    taskId: string,
    changes: Changes = NO_CHANGES,
  ): Promise<{ ticket: Ticket; isReplay: boolean }> {
    const { tasks, resolver, acceptor, payloadLimitBytes } = this.#deps;
    const task = { namespace, taskId };
    const old = await this.#ended(task);
    const callable = await resolver.resolve(namespace, referenceOf(old, changes));
    const changed = changes.payload === null ? null : newPayload(old, changes.payload, payloadLimitBytes);
    const payload = changed?.bytes ?? (await tasks.payload(old));
    if (payload === null) throw noLongerKept(taskId, 'payload');
    const mine = newTaskId(old.artifactId);
    const name = nameOfRetry(old, callable.version.version, changed);
    const id = await tasks.claimRetry(task, mine, name);
    const { stalls: _stalls, stream: _stream, starts: _starts, maxRecoveries: _maxRecoveries, ...rest } = old;
    const view = await resolver.view(old);
    const before = view?.versions.filter(isKnown).find(({ version }) => version === old.version);
    const now = sharedNow();
    const ticket: Ticket = {
      ...rest,
      ...limitsOf(old, before, callable.version),
      ...(changed === null ? {} : withPayload(old, changed)),
      taskId: id,
      mode: 'async',
      acceptedAtMs: now,
      dueAtMs: now,
      queueMs: queueWaitMs(callable.version.spec, 'async'),
      attempt: 1,
      retryOf: taskId,
      replyTo: null,
      keyed: false,
    };
    // Repeated even for an earlier retry, whose API may have died before the acceptance.
    await acceptor.accept(ticket, payload, callable);
    return { ticket, isReplay: id !== mine };
  }

  /**
   * Retries a page of tasks. A refused task is reported, and the others go on.
   * @param version the version for the new tasks, as in {@link Changes}
   */
  async retryAll(principal: Principal, filter: TaskFilter, version: Changes['version'] = null): Promise<RetryPage> {
    const { tasks, next } = await this.#deps.list.page(principal, filter);
    const retried: { taskId: string; retryOf: string }[] = [];
    const refused: { retryOf: string; error: ErrorBody }[] = [];
    for (let from = 0; from < tasks.length; from += AT_ONCE) {
      await Promise.all(
        tasks.slice(from, from + AT_ONCE).map(async ({ head: { taskId } }) => {
          try {
            const { ticket } = await this.retry(principal, taskId, { version, payload: null });
            retried.push({ taskId: ticket.taskId, retryOf: taskId });
          } catch (error) {
            refused.push({ retryOf: taskId, error: bodyOf(toPilumError(error)) });
          }
        }),
      );
    }
    return { retried, refused, next };
  }

  /** Reads the ticket of a task that has ended without success. */
  async #ended(ref: TaskRef): Promise<Ticket> {
    const { namespace, taskId } = ref;
    const { tasks, queues } = this.#deps;
    const outcome = await tasks.outcome(ref);
    if (outcome === null) {
      const job = await queues.of({ namespace, artifactId: artifactIdOf(taskId) }).read(taskId);
      if (job === null) throw taskNotFound(taskId);
      throw new TaskError('TASK_PENDING', {
        message: `The task is ${job.state}; only a task that has ended can be retried.`,
        details: { taskId },
      });
    }
    if (outcome.status === 'completed') {
      throw new TaskError('TASK_FINISHED', {
        message: 'The task has completed, so there is nothing to retry; call the function again.',
        details: { taskId, status: outcome.status },
      });
    }
    const ticket = await tasks.ticket(ref);
    if (ticket === null) throw noLongerKept(taskId, 'payload');
    return ticket;
  }
}

/** Returns the ticket fields that describe the payload. A web endpoint reads the content type from a header as well. */
function withPayload(
  old: Ticket,
  { bytes, contentType }: NewPayload,
): Pick<Ticket, 'payload' | 'contentType' | 'headers'> {
  const headers = old.http === undefined ? old.headers : { ...old.headers, 'content-type': contentType };
  return { payload: ticketPayload(bytes), contentType, headers };
}
