import type { InstanceInfo, WorkerInfo } from '@pilum/core/schemas/worker.ts';
import { WORKER_EXPIRY_S, type WorkerRegistry } from '@pilum/core/store/worker-registry.ts';
import type { Logger } from 'pino';

const REPORT_INTERVAL_MS = (WORKER_EXPIRY_S * 1000) / 5;

/** Tells the registry, again and again, that the worker lives and what it has. */
export class Heartbeat {
  readonly #registry: WorkerRegistry;
  readonly #describe: () => Promise<{ worker: WorkerInfo; instances: InstanceInfo[] }>;
  readonly #logger: Logger;
  #timer: NodeJS.Timeout | undefined;
  #workerId: string | null = null;

  constructor(
    registry: WorkerRegistry,
    describe: () => Promise<{ worker: WorkerInfo; instances: InstanceInfo[] }>,
    logger: Logger,
  ) {
    this.#registry = registry;
    this.#describe = describe;
    this.#logger = logger;
  }

  /** Reports once, and then in intervals. */
  async open(): Promise<void> {
    await this.#report();
    this.#timer = setInterval(() => {
      this.#report().catch((error: unknown) => this.#logger.warn({ err: error }, 'the worker could not report itself'));
    }, REPORT_INTERVAL_MS);
  }

  /** Stops, and takes the worker off the list. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    if (this.#workerId !== null) await this.#registry.remove(this.#workerId);
  }

  async #report(): Promise<void> {
    const { worker, instances } = await this.#describe();
    this.#workerId = worker.workerId;
    await this.#registry.report(worker, instances);
  }
}
