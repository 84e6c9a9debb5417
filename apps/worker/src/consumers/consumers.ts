import { logEvent } from '@pilum/core/log/log-events.ts';
import { parseHandOver } from '@pilum/core/queue/held-job.ts';
import type { TaskQueues } from '@pilum/core/queue/task-queues.ts';
import { CHANNEL_WORK, handOverChannel, parseQualifiedId } from '@pilum/core/redis/keys.ts';
import type { Subscriber } from '@pilum/core/redis/subscriber.ts';
import { QueueConsumer, type QueueConsumerDeps } from './consumer.ts';

/** Attachments of one worker at most; those that have been idle longest go first. An attachment holds no connection. */
const MAX_ATTACHMENTS = 500;

/**
 * The queues that a worker takes tasks from: every queue that it hears has work. A message that is lost delays a task
 * until the housekeeper's next round and never loses one.
 */
export class QueueConsumers {
  readonly #queues: TaskQueues;
  readonly #deps: QueueConsumerDeps;
  /** In order of last use, the oldest first. */
  readonly #attached = new Map<string, QueueConsumer>();

  readonly #canRun: () => boolean;

  /** @param canRun whether the worker has a runtime that works; without one, tasks are left to others */
  constructor(queues: TaskQueues, deps: QueueConsumerDeps, canRun: () => boolean) {
    this.#queues = queues;
    this.#deps = deps;
    this.#canRun = canRun;
  }

  get count(): number {
    return this.#attached.size;
  }

  /** Begins to listen. Tasks that waited before are found by the housekeeper's first round. */
  async open(subscriber: Subscriber): Promise<void> {
    subscriber.onGap(() => {
      for (const consumer of this.#attached.values()) consumer.wake();
    });
    const { tokens } = this.#deps;
    await subscriber.subscribe(handOverChannel(tokens.workerProcess), (message) => this.#takeHandOver(message));
    await subscriber.subscribe(CHANNEL_WORK, (qualified) => this.wake(qualified));
  }

  /** Instances of an artifact that stood idle have gone. */
  instancesGone(qualified: string): void {
    this.#attached.get(qualified)?.instancesGone();
  }

  #takeHandOver(message: string): void {
    const { token, qualified, data } = parseHandOver(message);
    const queue = this.#queues.of(parseQualifiedId(qualified));
    const job = queue.handedOver(data, token);
    if (this.#attached.get(qualified)?.handOver(job) === true) return;
    // Redis has an offer that this worker takes for gone: a command that was sent twice, say.
    const { logger } = this.#deps;
    logEvent(logger, 'slot-gone', { taskId: job.ticket.taskId });
    queue.giveBack(job).catch((error: unknown) => logEvent(logger, 'task-left', { err: error }));
  }

  /** A queue may have work. */
  wake(qualified: string): void {
    if (this.#deps.draining.aborted || !this.#canRun()) return;
    let consumer = this.#attached.get(qualified);
    if (consumer === undefined) {
      const ref = parseQualifiedId(qualified);
      consumer = new QueueConsumer(ref, this.#queues.of(ref), this.#deps);
      this.#letGo();
    } else {
      this.#attached.delete(qualified);
    }
    this.#attached.set(qualified, consumer);
    consumer.wake();
  }

  /** Resolves when no task runs any more; to be called after `draining` was aborted. */
  async drained(): Promise<void> {
    await Promise.all([...this.#attached.values()].map((consumer) => consumer.drained()));
  }

  #letGo(): void {
    if (this.#attached.size < MAX_ATTACHMENTS) return;
    for (const [qualified, consumer] of this.#attached) {
      if (!consumer.isIdle) continue;
      consumer.close();
      this.#attached.delete(qualified);
      return;
    }
  }
}
