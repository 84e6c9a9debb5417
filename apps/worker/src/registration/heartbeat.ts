import { setTimeout as sleep } from 'node:timers/promises';
import { logEvent } from '@pilum/core/log/log-events.ts';
import type { InstanceInfo, WorkerInfo } from '@pilum/core/schemas/worker.ts';
import { WORKER_EXPIRY_S, type WorkerRegistry } from '@pilum/core/store/worker-registry.ts';
import type { Logger } from 'pino';

const REPORT_INTERVAL_MS = (WORKER_EXPIRY_S * 1000) / 5;
/** Longest time that leaving the list may take, ms: where Redis is away the entry expires by itself. */
const LEAVE_MS = 1000;

/** Tells the registry, again and again, that the worker lives and what it has. */
export class Heartbeat {
  readonly #registry: WorkerRegistry;
  readonly #describe: () => Promise<{ worker: WorkerInfo; instances: InstanceInfo[] }>;
  readonly #logger: Logger;
  #timer: NodeJS.Timeout | undefined;
  #workerId: string | null = null;
  #isReporting = false;

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
      // One at a time: while Redis is away they would pile up, and say the same.
      if (this.#isReporting) return;
      this.#report().catch((error: unknown) => logEvent(this.#logger, 'worker-unreported', { err: error }));
    }, REPORT_INTERVAL_MS);
  }

  /** Stops, and takes the worker off the list. May be awaited twice. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    if (this.#workerId === null) return;
    const removed = this.#registry.remove(this.#workerId);
    removed.catch(() => undefined); // it may fail after the limit, when nobody hears it
    await Promise.race([removed, sleep(LEAVE_MS, undefined, { ref: false })]);
  }

  async #report(): Promise<void> {
    this.#isReporting = true;
    try {
      const { worker, instances } = await this.#describe();
      this.#workerId = worker.workerId;
      await this.#registry.report(worker, instances);
    } finally {
      this.#isReporting = false;
    }
  }
}
