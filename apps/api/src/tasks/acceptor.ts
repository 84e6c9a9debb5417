import { TaskError } from '@pilum/core/errors/pilum-error.ts';
import type { TaskQueues } from '@pilum/core/queue/task-queues.ts';
import type { RedisClock } from '@pilum/core/redis/redis-clock.ts';
import type { RedisMemory } from '@pilum/core/redis/redis-memory.ts';
import type { Ticket } from '@pilum/core/schemas/task.ts';
import type { TaskIndex } from '@pilum/core/store/task-index.ts';
import type { Callable } from '../artifacts/resolve.ts';
import type { CompletionEstimate } from './estimate.ts';

const MEBIBYTE = 1_048_576;
const LONGEST_RETRY_AFTER_S = 60;

export interface AcceptorDeps {
  readonly queues: TaskQueues;
  readonly index: TaskIndex;
  readonly estimate: CompletionEstimate;
  readonly redisClock: RedisClock;
  readonly redisMemory: RedisMemory;
  /** Longest wait of a caller for the acceptance of its task, ms; a task accepted later would start unknown to anyone. */
  readonly withinMs: number;
}

/** Accepts tasks into the queues of their artifacts. */
export class Acceptor {
  readonly #deps: AcceptorDeps;

  constructor(deps: AcceptorDeps) {
    this.#deps = deps;
  }

  /**
   * Accepts a task. When the promise resolves, Redis has recorded the task. A task that is known already stays as it is.
   * @param payload the payload, which is stored beside the ticket if the ticket does not contain it
   * @param waitMs how long the caller waits for the acceptance
   * @throws TaskError `QUEUE_FULL`; SystemError `REDIS_UNAVAILABLE`
   */
  async accept(
    ticket: Ticket,
    payload: Buffer | null,
    { version, settings }: Callable,
    waitMs = Number.POSITIVE_INFINITY,
  ): Promise<void> {
    const { queues, index, estimate, redisClock, redisMemory, withinMs } = this.#deps;
    if (redisMemory.isFull) await redisMemory.requireRoom();
    const now = redisClock.now();
    try {
      await queues.of(ticket).accept(ticket, {
        limits: { tasks: settings.maxBacklog, bytes: settings.maxBacklogMiB * MEBIBYTE },
        payload: ticket.payload.encoding === 'beside' ? payload : null,
        notAfterMs: now === null ? null : Math.floor(now + Math.min(waitMs, withinMs)),
      });
      index.note('recent', ticket);
    } catch (error) {
      if (!(error instanceof TaskError) || error.code !== 'QUEUE_FULL') throw error;
      const roomInMs = await estimate.untilNext(ticket.namespace, version).catch(() => null);
      const retryAfterS = Math.min(Math.max(1, Math.ceil((roomInMs ?? 0) / 1000)), LONGEST_RETRY_AFTER_S);
      throw new TaskError('QUEUE_FULL', { message: error.message, details: { ...error.details, retryAfterS } });
    }
  }
}
