import { logEvent } from '@pilum/core/log/log-events.ts';
import { workerChannel } from '@pilum/core/redis/keys.ts';
import type { Subscriber } from '@pilum/core/redis/subscriber.ts';
import { readRecord, recordProblems } from '@pilum/core/schemas/check.ts';
import { WorkerOrder } from '@pilum/core/schemas/worker.ts';
import type { Logger } from 'pino';
import type { InstancePools } from '../pool/instance-pools.ts';

/** Carries out what an operator tells this worker to do: to be drained, or to stop an instance. */
export class Orders {
  readonly #pools: InstancePools;
  readonly #drain: () => void;
  readonly #logger: Logger;

  /** @param drain is called where the worker is to take nothing new, and may be called again */
  constructor(pools: InstancePools, drain: () => void, logger: Logger) {
    this.#pools = pools;
    this.#drain = drain;
    this.#logger = logger;
  }

  /** Begins to listen. */
  async open(workerId: string, subscriber: Subscriber): Promise<void> {
    await subscriber.subscribe(workerChannel(workerId), (text) => this.#obey(text));
  }

  #obey(text: string): void {
    const said: unknown = JSON.parse(text);
    const order = readRecord(WorkerOrder, said);
    if (order === null) {
      logEvent(this.#logger, 'order-unknown', { problems: recordProblems(WorkerOrder, said) });
      return;
    }
    logEvent(this.#logger, 'order-taken', order);
    if (order.order === 'drain') {
      this.#drain();
      return;
    }
    const { instanceId } = order;
    this.#pools.stopInstance(instanceId).catch((error: unknown) => {
      logEvent(this.#logger, 'instance-not-stopped', { err: error, instanceId });
    });
  }
}
