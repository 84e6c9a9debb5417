import { availableParallelism, hostname } from 'node:os';
import { join } from 'node:path';
import type { Configuration } from '@pilum/core/config/config.ts';
import { RuntimeError } from '@pilum/core/errors/pilum-error.ts';
import { Housekeeper } from '@pilum/core/housekeeping/housekeeper.ts';
import { LeaderLease } from '@pilum/core/housekeeping/leader-lease.ts';
import { saySkew } from '@pilum/core/lifecycle/say-skew.ts';
import { SlotTokens } from '@pilum/core/queue/held-job.ts';
import { TaskQueues } from '@pilum/core/queue/task-queues.ts';
import type { Redis } from '@pilum/core/redis/connect.ts';
import { qualifiedId, workerChannel } from '@pilum/core/redis/keys.ts';
import { RedisClock } from '@pilum/core/redis/redis-clock.ts';
import type { RedisTls } from '@pilum/core/redis/redis-tls.ts';
import { clockSkewMs, sharedNow } from '@pilum/core/redis/shared-time.ts';
import { Subscriber } from '@pilum/core/redis/subscriber.ts';
import type { Version } from '@pilum/core/schemas/artifact.ts';
import { matches } from '@pilum/core/schemas/check.ts';
import { type InstanceInfo, type RuntimeStatus, type WorkerInfo, WorkerOrder } from '@pilum/core/schemas/worker.ts';
import type { ArtifactRuntime } from '@pilum/core/spec/runtimes.ts';
import { ArtifactStore } from '@pilum/core/store/artifact-store.ts';
import { BlobStore } from '@pilum/core/store/blob-store.ts';
import { KeptStore } from '@pilum/core/store/kept-store.ts';
import { hasKeylessApi } from '@pilum/core/store/keyless-apis.ts';
import { OutputStore } from '@pilum/core/store/output-store.ts';
import { TaskStore } from '@pilum/core/store/task-store.ts';
import { WorkerRegistry } from '@pilum/core/store/worker-registry.ts';
import type { Logger } from 'pino';
import { ArtifactWatch, type SeenArtifact } from './artifacts/artifact-watch.ts';
import { type Preparation, Preparations } from './artifacts/preparations.ts';
import type { InstanceCapacity } from './capacity/capacity.ts';
import { CodeCache } from './code/code-cache.ts';
import { QueueConsumers } from './consumers/consumers.ts';
import { LockKeeper } from './locks/lock-keeper.ts';
import { StreamedTasks } from './output/streamed-tasks.ts';
import { OrphanSweep } from './ownership/orphan-sweep.ts';
import type { Presence } from './ownership/presence.ts';
import { admitNetwork, wantsHostNetwork } from './pool/admit-network.ts';
import { InstancePools } from './pool/instance-pools.ts';
import { loadOnce } from './pool/load-once.ts';
import { WarmKeeper } from './pool/warm-keeper.ts';
import { Heartbeat } from './registration/heartbeat.ts';
import { layersIn } from './runtimes/contract/layers.ts';
import type { Runtime } from './runtimes/contract/runtime.ts';
import { Slots } from './slots/slots.ts';
import { Beginnings } from './tasks/beginnings.ts';
import { RunningTasks } from './tasks/running-tasks.ts';
import { TaskRunner } from './tasks/task-runner.ts';
import { VersionCache } from './tasks/version-cache.ts';

const MEBIBYTE = 1_048_576;
/** Live instances of one worker, whatever memory it has: as many processes as one may look after. */
const MOST_INSTANCES = 512;
/** Between two looks for pools that nobody uses, and at runtimes, ms. */
const TIDY_INTERVAL_MS = 5000;

export interface WorkerDeps {
  readonly configuration: Configuration;
  readonly release: string;
  /** For commands: waits for Redis for as long as it takes. */
  readonly redis: Redis;
  /** For messages, and nothing else. */
  readonly subscriberRedis: Redis;
  readonly redisTls?: RedisTls | undefined;
  readonly runtimes: readonly Runtime[];
  /** Where code is kept on disk; a sandbox must be able to read it. */
  readonly stagingDirectory: string;
  /** Of the workers that share that directory. */
  readonly presence: Presence;
  readonly logger: Logger;
}

/** One consuming process: takes tasks from queues, runs them on warm instances and settles them. */
export class Worker {
  readonly #deps: WorkerDeps;
  #startedAt = '';
  readonly #clock: RedisClock;
  readonly #draining = new AbortController();
  readonly #subscriber: Subscriber;
  readonly #artifacts: ArtifactStore;
  readonly #queues: TaskQueues;
  readonly #codeCache: CodeCache;
  readonly #layerCache: CodeCache;
  readonly #pools: InstancePools;
  readonly #versions: VersionCache;
  readonly #slots: Slots;
  readonly #capacity: InstanceCapacity;
  readonly #locks: LockKeeper;
  readonly #running: RunningTasks;
  readonly #streamed: StreamedTasks;
  readonly #consumers: QueueConsumers;
  readonly #warmKeeper: WarmKeeper;
  readonly #preparations: Preparations;
  readonly #artifactWatch: ArtifactWatch;
  readonly #heartbeat: Heartbeat;
  readonly #orphans: OrphanSweep;
  readonly #housekeeper: Housekeeper;
  #statuses: RuntimeStatus[] = [];
  #tidying: NodeJS.Timeout | undefined;
  readonly #drained = Promise.withResolvers<void>();
  #closing: Promise<void> | undefined;

  constructor(deps: WorkerDeps) {
    this.#deps = deps;
    const { configuration, redis, logger } = deps;
    const workerId = configuration.WORKER_ID;
    const artifacts = new ArtifactStore(redis);
    this.#artifacts = artifacts;
    // The worker reads and collects blobs; limits on what comes in are the API's.
    const blobs = new BlobStore(redis, { blobBytes: Number.POSITIVE_INFINITY, quotaBytes: Number.POSITIVE_INFINITY });
    const tasks = new TaskStore(redis, {
      ageS: configuration.TASK_RETENTION_S,
      failedAgeS: configuration.TASK_FAILURE_RETENTION_S,
      count: configuration.TASK_RETENTION_COUNT,
      framesAgeS: configuration.STREAM_RETENTION_S,
      mostBytes: configuration.KEPT_MIB * MEBIBYTE,
    });
    this.#subscriber = new Subscriber(deps.subscriberRedis, (error) =>
      logger.warn({ err: error }, 'a message could not be read'),
    );
    this.#queues = new TaskQueues(redis);
    this.#clock = new RedisClock(
      redis,
      (error) => logger.debug({ err: error }, "Redis's clock could not be read; it is read again"),
      saySkew(logger),
    );
    const cacheIn = (directory: string) =>
      new CodeCache({
        directory,
        limitBytes: configuration.CODE_CACHE_MIB * MEBIBYTE,
        source: blobs,
        presence: deps.presence,
        isolation: configuration.ISOLATION,
        logger,
      });
    this.#codeCache = cacheIn(join(deps.stagingDirectory, 'code'));
    this.#layerCache = cacheIn(layersIn(deps.stagingDirectory));
    this.#slots = new Slots(configuration.WORKER_CAPACITY);
    this.#capacity = {
      instances: MOST_INSTANCES,
      memoryMiB: configuration.WORKER_MEMORY_MIB,
      cpu: configuration.WORKER_CPU ?? Math.max(configuration.WORKER_CAPACITY, availableParallelism()),
    };
    this.#locks = new LockKeeper({
      redisUrl: configuration.REDIS_URL,
      redisTls: deps.redisTls,
      workerId,
      logger,
    });
    this.#pools = new InstancePools({
      codeCache: this.#codeCache,
      layerCache: this.#layerCache,
      runtimeFor: (version) => this.#runtimeFor(version),
      canRun: (version) => this.#canRun(version.spec.runtime),
      admit: (version) => admitNetwork(redis, version),
      killGraceMs: configuration.KILL_GRACE_MS,
      capacity: this.#capacity,
      workerId,
      onIdleGone: (artifact) => this.#consumers.instancesGone(artifact),
      logger,
    });
    this.#versions = new VersionCache(artifacts);
    this.#running = new RunningTasks(tasks, logger);
    const tokens = new SlotTokens(workerId);
    const outputs = new OutputStore(redis);
    this.#streamed = new StreamedTasks({
      store: outputs,
      workerProcess: tokens.workerProcess,
      readerGraceMs: configuration.STREAM_READER_GRACE_MS,
      abandon: (namespace, taskId) => this.#running.abandon(namespace, taskId),
      logger,
    });
    const runner = new TaskRunner({
      workerId,
      tasks,
      versions: this.#versions,
      pools: this.#pools,
      beginnings: new Beginnings(),
      outputs,
      outputLimits: {
        logBytes: configuration.TASK_LOG_LIMIT_KIB * 1024,
        windowBytes: configuration.STREAM_WINDOW_MIB * MEBIBYTE,
        windowFrames: configuration.STREAM_WINDOW_FRAMES,
      },
      streamed: this.#streamed,
      killGraceMs: configuration.KILL_GRACE_MS,
      logger,
    });
    this.#consumers = new QueueConsumers(
      this.#queues,
      {
        workerId,
        tokens,
        slots: this.#slots,
        pools: this.#pools,
        locks: this.#locks,
        running: this.#running,
        runner,
        logger,
        draining: this.#draining.signal,
      },
      () => this.#statuses.some((status) => status.available),
    );
    this.#artifactWatch = new ArtifactWatch(artifacts, (seen) => this.#see(seen), logger);
    this.#warmKeeper = new WarmKeeper({
      pools: this.#pools,
      canRun: ({ spec }) => this.#canRun(spec.runtime),
      logger,
    });
    this.#preparations = new Preparations({
      artifacts,
      workerId,
      preparationOf: (version) => this.#preparationOf(version),
      logger,
    });
    this.#heartbeat = new Heartbeat(new WorkerRegistry(redis), () => Promise.resolve(this.#describe()), logger);
    this.#orphans = new OrphanSweep([...deps.runtimes, this.#codeCache, this.#layerCache], logger);
    this.#housekeeper = new Housekeeper({
      lease: new LeaderLease(redis, workerId, false),
      queues: this.#queues,
      tasks,
      artifacts,
      kept: new KeptStore(redis),
      keptLimits: {
        artifactBytes: configuration.KEPT_MIB * MEBIBYTE,
        namespaceBytes: configuration.NAMESPACE_KEPT_MIB * MEBIBYTE,
      },
      collect: { blobs, graceMs: configuration.BLOB_GRACE_S * 1000 },
      logger,
    });
  }

  /** Resolves when the worker is registered and takes tasks. */
  async open(): Promise<void> {
    this.#clock.open();
    await this.#clock.measured;
    this.#startedAt = new Date(sharedNow()).toISOString();
    await this.#deps.presence.open();
    await Promise.all([this.#codeCache.open(), this.#layerCache.open()]);
    await this.#checkRuntimes();
    this.#locks.open();
    await this.#heartbeat.open();
    await this.#running.open(this.#subscriber);
    await this.#streamed.open(this.#subscriber);
    await this.#consumers.open(this.#subscriber);
    await this.#subscriber.subscribe(workerChannel(this.#deps.configuration.WORKER_ID), (text) => this.#obey(text));
    this.#housekeeper.open();
    this.#takeWhatWaits().catch((error: unknown) => this.#deps.logger.warn({ err: error }, 'the queues were not seen'));
    await this.#artifactWatch.open(this.#subscriber);
    this.#orphans.open();
    this.#tidying = setInterval(() => {
      this.#pools.sweep();
      this.#stopWhatIsRefused().catch((error: unknown) =>
        this.#deps.logger.warn({ err: error }, 'a look at APIs failed'),
      );
      this.#checkRuntimes().catch((error: unknown) => this.#deps.logger.warn({ err: error }, 'a check failed'));
    }, TIDY_INTERVAL_MS);
  }

  /** Resolves when an operator has had it drained: nothing runs here any more, and nothing is taken. */
  get drained(): Promise<void> {
    return this.#drained.promise;
  }

  /** An API without a key has come since these were started. */
  async #stopWhatIsRefused(): Promise<void> {
    if (!this.#pools.hasSome(wantsHostNetwork) || !(await hasKeylessApi(this.#deps.redis))) return;
    this.#deps.logger.warn('an API asks for no key: instances with the network of this machine are stopped');
    await this.#pools.stopAllOf(wantsHostNetwork);
  }

  /** Backlog that stands is not announced again before the housekeeper's next round: a worker that comes helps at once. */
  async #takeWhatWaits(): Promise<void> {
    for await (const page of this.#artifacts.all()) {
      await Promise.all(
        page.map(async ({ namespace, artifactId }) => {
          const { due } = await this.#queues.look(namespace, artifactId);
          if (due > 0) this.#consumers.wake(qualifiedId(namespace, artifactId));
        }),
      );
      if (this.#draining.signal.aborted) return;
    }
  }

  #obey(text: string): void {
    const { logger } = this.#deps;
    const order: unknown = JSON.parse(text);
    if (!matches(WorkerOrder, order)) throw new Error(`an order that this release does not know: ${text}`);
    logger.info(order, 'an operator wants this');
    if (order.order === 'drain') {
      this.#takeNothingNew();
      this.#consumers.drained().then(this.#drained.resolve, this.#drained.reject);
      return;
    }
    this.#pools.stopInstance(order.instanceId).catch((error: unknown) => {
      logger.error({ err: error, instanceId: order.instanceId }, 'an instance could not be stopped');
    });
  }

  #see(seen: SeenArtifact): void {
    this.#preparations.see(seen);
    this.#warmKeeper.see(seen);
    const { settings, namespace, artifactId } = seen;
    this.#slots.setShare(qualifiedId(namespace, artifactId), settings ?? undefined);
    if (seen.current !== null) this.#expect(namespace, seen.current);
  }

  /** What has just been deployed is likely to be called. */
  #expect(namespace: string, version: Version): void {
    if (version.createdAt < this.#startedAt || !this.#versions.add(namespace, version)) return;
    const runtime = this.#deps.runtimes.find(({ kind }) => kind === version.spec.runtime);
    runtime?.prewarm?.expect(version).catch(() => undefined); // its check says what is wrong with the runtime
    if (runtime?.anticipate === undefined) return;
    this.#pools
      .with(namespace, version, async ({ runnable }) => await runtime.anticipate?.(runnable))
      .catch((error: unknown) => {
        if (this.#draining.signal.aborted) return;
        const { artifactId } = version;
        this.#deps.logger.warn(
          { err: error, artifactId, version: version.version },
          'it could not be made ready ahead',
        );
      });
  }

  #openPrewarm({ kind, prewarm }: Runtime): void {
    const spare = {
      // A task that waits takes no processor, and one that computes takes one at most.
      isBusy: () => this.#slots.taken >= availableParallelism(),
      memoryMiB: () => this.#pools.spareMemoryMiB,
    };
    prewarm?.open(spare).catch((error: unknown) => {
      this.#deps.logger.warn(
        { err: error, runtime: kind },
        'no prewarmed sandboxes are kept ready; every instance is started from nothing',
      );
    });
  }

  #takeNothingNew(): void {
    this.#draining.abort();
    this.#artifactWatch.close();
    this.#warmKeeper.close();
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
    const { configuration, runtimes } = this.#deps;
    this.#takeNothingNew();
    clearInterval(this.#tidying);
    const swept = this.#orphans.close();
    const prepared = this.#preparations.close();
    const limit = setTimeout(() => this.#running.interruptAll(), drainMs);
    await this.#housekeeper.close();
    await this.#consumers.drained();
    clearTimeout(limit);
    await this.#locks.close();
    this.#running.close();
    this.#streamed.close();
    // Nobody waits for code any more.
    await Promise.all([this.#codeCache.close(), this.#layerCache.close()]);
    await this.#pools.close(configuration.KILL_GRACE_MS);
    await Promise.all(runtimes.map((runtime) => runtime.close()));
    await Promise.all([swept, prepared]);
    await this.#deps.presence.close();
    this.#clock.close();
    await this.#heartbeat.close();
    this.#subscriber.close();
    await this.#queues.close();
  }

  #preparationOf(version: Version): Preparation | null {
    if (!this.#canRun(version.spec.runtime)) return null;
    const { preparer } = this.#runtimeFor(version);
    if (preparer !== null) return (_namespace, { spec }, options) => preparer.prepare(spec, options);
    // One that does not say what it waits for is made ready by the API.
    if (version.preparation === undefined || !this.#pools.canHold(version)) return null;
    return async (namespace, one, { signal }) => {
      await loadOnce(this.#pools, namespace, one, signal);
      return {};
    };
  }

  #canRun(wanted: ArtifactRuntime): boolean {
    return this.#statuses.some(({ kind, available }) => kind === wanted && available);
  }

  #runtimeFor(version: Version): Runtime {
    const kind = version.spec.runtime;
    const runtime = this.#deps.runtimes.find((candidate) => candidate.kind === kind);
    if (runtime === undefined) {
      throw new RuntimeError('RUNTIME_UNAVAILABLE', { message: `This worker has no ${kind} runtime.` });
    }
    return runtime;
  }

  async #checkRuntimes(): Promise<void> {
    const before = new Map(this.#statuses.map((status) => [status.kind, status.available]));
    const { runtimes } = this.#deps;
    this.#statuses = await Promise.all(runtimes.map((runtime) => runtime.check()));
    for (const status of this.#statuses) {
      if (before.get(status.kind) === status.available) continue;
      // Of a machine that has never had the one, and works with another, that is no fault.
      const isMissed = before.has(status.kind) || !this.#statuses.some(({ available }) => available);
      const level = status.available || !isMissed ? 'info' : 'error';
      this.#deps.logger[level](
        { runtime: status.kind, isolation: status.isolation, limits: status.limits, notes: status.notes },
        status.available ? 'runtime available' : 'runtime not available',
      );
      const runtime = runtimes.find(({ kind }) => kind === status.kind);
      if (status.available && runtime !== undefined) this.#openPrewarm(runtime);
    }
  }

  #describe(): { worker: WorkerInfo; instances: InstanceInfo[] } {
    const { configuration, release } = this.#deps;
    return {
      worker: {
        workerId: configuration.WORKER_ID,
        host: hostname(),
        pid: process.pid,
        release,
        startedAt: this.#startedAt,
        seenAt: new Date(sharedNow()).toISOString(),
        clockSkewMs: clockSkewMs() ?? 0,
        runtimes: this.#statuses,
        capacity: { tasks: this.#slots.capacity, cpu: this.#capacity.cpu, memoryMiB: this.#capacity.memoryMiB },
        running: this.#slots.taken,
        inUse: this.#pools.inUse,
        ...(this.#draining.signal.aborted ? { draining: true } : {}),
        blanks: Object.assign({}, ...this.#deps.runtimes.map(({ prewarm }) => prewarm?.ready())),
        attached: this.#consumers.count,
      },
      instances: this.#pools.infos(),
    };
  }
}
