import { logEvent } from '@pilum/core/log/log-events.ts';
import { sharedNow } from '@pilum/core/redis/shared-time.ts';
import { sayUnknownKeys } from '@pilum/core/secrets/say-unknown-keys.ts';
import { takeBacklog } from './background/backlog.ts';
import { compose, type WorkerDeps, type WorkerServices } from './compose.ts';

/** Between two looks for pools that nobody uses, ms. */
const SWEEP_INTERVAL_MS = 5000;

/** One consuming process: takes tasks from queues, runs them on warm instances and settles them. */
export class Worker {
  readonly #deps: WorkerDeps;
  readonly #services: WorkerServices;
  readonly #draining = new AbortController();
  readonly #drained = Promise.withResolvers<void>();
  #sweeping: NodeJS.Timeout | undefined;
  #closing: Promise<void> | undefined;

  constructor(deps: WorkerDeps) {
    this.#deps = deps;
    this.#services = compose(deps, { signal: this.#draining.signal, drain: () => this.#drain() });
  }

  /** Opens the worker; resolves when it is registered and takes tasks. */
  async open(): Promise<void> {
    const { configuration, presence, logger } = this.#deps;
    const services = this.#services;
    const { clock, subscriber, consumers } = services;
    clock.open();
    await clock.measured;
    const startedAt = new Date(sharedNow()).toISOString();
    services.description.open(startedAt);
    services.ahead.open(startedAt);
    await presence.open();
    await Promise.all([services.codeCache.open(), services.layerCache.open()]);
    await services.runtimes.open();
    services.locks.open();
    await services.heartbeat.open();
    await services.running.open(subscriber);
    await services.streamed.open(subscriber);
    await consumers.open(subscriber);
    await services.orders.open(configuration.WORKER_ID, subscriber);
    services.housekeeper.open();
    takeBacklog(services.lists.active, services.queues, consumers, this.#draining.signal).catch((error: unknown) =>
      logEvent(logger, 'backlog-unseen', { err: error }),
    );
    await services.artifactWatch.open(subscriber);
    services.orphans.open();
    services.hostNetwork.open();
    await services.secretWatch.open(subscriber);
    await sayUnknownKeys(services.secrets, this.#deps.secretKeys, logger);
    this.#sweeping = setInterval(() => services.pools.sweep(), SWEEP_INTERVAL_MS);
  }

  /** Resolves when an operator has had it drained: nothing runs here any more, and nothing is taken. */
  get drained(): Promise<void> {
    return this.#drained.promise;
  }

  /**
   * Takes nothing new, lets what runs end within the limit, gives the rest back to its queue, and stops all instances.
   * May be awaited twice.
   * @param drainMs how long to wait for running tasks, ms
   */
  close(drainMs: number): Promise<void> {
    this.#closing ??= this.#close(drainMs);
    return this.#closing;
  }

  async #close(drainMs: number): Promise<void> {
    const { configuration, presence } = this.#deps;
    const services = this.#services;
    this.#takeNothingNew();
    clearInterval(this.#sweeping);
    services.hostNetwork.close();
    services.secretWatch.close();
    services.runtimes.close();
    const swept = services.orphans.close();
    const prepared = services.preparations.close();
    const limit = setTimeout(() => services.running.interruptAll(), drainMs);
    await services.housekeeper.close();
    await services.consumers.drained();
    clearTimeout(limit);
    await services.tasks.index.write();
    await services.locks.close();
    services.running.close();
    services.streamed.close();
    // Nobody waits for code any more.
    await Promise.all([services.codeCache.close(), services.layerCache.close()]);
    await services.pools.close(configuration.KILL_GRACE_MS);
    await Promise.all(services.runtimes.all.map((runtime) => runtime.close()));
    await Promise.all([swept, prepared]);
    await presence.close();
    services.clock.close();
    await services.heartbeat.close();
    services.subscriber.close();
    await services.queues.close();
  }

  #drain(): void {
    this.#takeNothingNew();
    this.#services.consumers.drained().then(this.#drained.resolve, this.#drained.reject);
  }

  #takeNothingNew(): void {
    this.#draining.abort();
    this.#services.artifactWatch.close();
    this.#services.warmKeeper.close();
  }
}
