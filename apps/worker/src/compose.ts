import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Configuration } from '@pilum/core/config/config.ts';
import { Housekeeper } from '@pilum/core/housekeeping/housekeeper.ts';
import { LeaderLease } from '@pilum/core/housekeeping/leader-lease.ts';
import { saySkew } from '@pilum/core/lifecycle/say-skew.ts';
import { logEvent } from '@pilum/core/log/log-events.ts';
import { SlotTokens } from '@pilum/core/queue/held-job.ts';
import { TaskQueues } from '@pilum/core/queue/task-queues.ts';
import type { Redis } from '@pilum/core/redis/connect.ts';
import { qualifiedId } from '@pilum/core/redis/keys.ts';
import { RedisClock } from '@pilum/core/redis/redis-clock.ts';
import type { RedisTls } from '@pilum/core/redis/redis-tls.ts';
import { Subscriber } from '@pilum/core/redis/subscriber.ts';
import type { KeySource } from '@pilum/core/secrets/key-source.ts';
import { SecretStore } from '@pilum/core/secrets/secret-store.ts';
import { wallsNamed } from '@pilum/core/spec/walls.ts';
import { ArtifactLists } from '@pilum/core/store/artifact-list.ts';
import { ArtifactStore } from '@pilum/core/store/artifact-store.ts';
import { BlobStore } from '@pilum/core/store/blob-store.ts';
import { KeptStore } from '@pilum/core/store/kept-store.ts';
import { OutputStore } from '@pilum/core/store/output-store.ts';
import { TaskStore } from '@pilum/core/store/task-store.ts';
import { WorkerRegistry } from '@pilum/core/store/worker-registry.ts';
import type { Logger } from 'pino';
import { ArtifactWatch, type SeenArtifact } from './artifacts/artifact-watch.ts';
import { Preparations } from './artifacts/preparations.ts';
import { HostNetworkWatch } from './background/host-network-watch.ts';
import { ReadyAhead } from './background/ready-ahead.ts';
import { SecretWatch } from './background/secret-watch.ts';
import { preparationOf } from './background/version-preparation.ts';
import type { InstanceCapacity } from './capacity/capacity.ts';
import { CodeCache } from './code/code-cache.ts';
import { QueueConsumers } from './consumers/consumers.ts';
import { LockKeeper } from './locks/lock-keeper.ts';
import { StreamedTasks } from './output/streamed-tasks.ts';
import { OrphanSweep } from './ownership/orphan-sweep.ts';
import type { Presence } from './ownership/presence.ts';
import { admitNetwork } from './pool/admit-network.ts';
import { InstancePools } from './pool/instance-pools.ts';
import { WarmKeeper } from './pool/warm-keeper.ts';
import { Heartbeat } from './registration/heartbeat.ts';
import { Orders } from './registration/orders.ts';
import { SelfDescription } from './registration/self-description.ts';
import { AvailableRuntimes } from './runtimes/available-runtimes.ts';
import { layersIn } from './runtimes/contract/layers.ts';
import type { Runtime } from './runtimes/contract/runtime.ts';
import { SecretReader, wantsSecrets } from './secrets/secret-reader.ts';
import { Slots } from './slots/slots.ts';
import { Beginnings } from './tasks/beginnings.ts';
import { RunningTasks } from './tasks/running-tasks.ts';
import { TaskRunner } from './tasks/task-runner.ts';
import { VersionCache } from './tasks/version-cache.ts';

const MEBIBYTE = 1_048_576;
/** Live instances of one worker, whatever memory it has: as many processes as one may look after. */
const MOST_INSTANCES = 512;

export interface WorkerDeps {
  readonly configuration: Configuration;
  readonly release: string;
  /** For commands: waits for Redis for as long as it takes. */
  readonly redis: Redis;
  /** For messages, and nothing else. */
  readonly subscriberRedis: Redis;
  readonly redisTls?: RedisTls | undefined;
  readonly runtimes: readonly Runtime[];
  /** The operator's keys for secrets. */
  readonly secretKeys: KeySource;
  /** Place where code is kept on disk; a sandbox must be able to read it. */
  readonly stagingDirectory: string;
  /** Presence of the workers that share that directory. */
  readonly presence: Presence;
  readonly logger: Logger;
}

/** The signal that a worker takes nothing new, and the function that gives it. */
export interface Draining {
  readonly signal: AbortSignal;
  readonly drain: () => void;
}

export type WorkerServices = ReturnType<typeof compose>;

/** Makes everything that a worker consists of, and opens nothing. */
export function compose(deps: WorkerDeps, { signal: draining, drain }: Draining) {
  const { configuration, redis, logger } = deps;
  const { WORKER_ID: workerId, KILL_GRACE_MS: killGraceMs } = configuration;
  const stores = composeStores(deps);
  const { tasks, artifacts, outputs, secrets } = stores;
  const queues = new TaskQueues(redis);
  const caches = composeCaches(deps, stores.blobs);
  const slots = new Slots(configuration.WORKER_CAPACITY);
  const capacity: InstanceCapacity = {
    instances: MOST_INSTANCES,
    memoryMiB: configuration.WORKER_MEMORY_MIB,
    cpu: configuration.WORKER_CPU ?? Math.max(configuration.WORKER_CAPACITY, availableParallelism()),
  };
  const secretReader = new SecretReader(secrets, deps.secretKeys);
  const runtimes = new AvailableRuntimes(
    deps.runtimes,
    wallsNamed(configuration.REQUIRE ?? ''),
    (runtime) => ahead.openPrewarm(runtime),
    logger,
    { admits: (version) => !wantsSecrets(version) || secretReader.keyIds.length > 0 },
  );
  const pools = new InstancePools({
    ...caches,
    runtimeFor: (version) => runtimes.require(version),
    canRun: (version) => runtimes.canRun(version),
    admit: (version) => admitNetwork(redis, version),
    secretsOf: (namespace, version) => secretReader.read(namespace, version),
    killGraceMs,
    capacity,
    workerId,
    onIdleGone: (artifact) => consumers.instancesGone(artifact),
    logger,
  });
  const versions = new VersionCache(artifacts);
  const running = new RunningTasks(tasks, logger);
  const tokens = new SlotTokens(workerId);
  const streamed = new StreamedTasks({
    store: outputs,
    workerProcess: tokens.workerProcess,
    readerGraceMs: configuration.STREAM_READER_GRACE_MS,
    abandon: (task) => running.abandon(task),
    logger,
  });
  const runner = new TaskRunner({
    workerId,
    tasks,
    versions,
    pools,
    beginnings: new Beginnings(),
    outputs,
    outputLimits: {
      logBytes: configuration.TASK_LOG_LIMIT_KIB * 1024,
      windowBytes: configuration.STREAM_WINDOW_MIB * MEBIBYTE,
      windowFrames: configuration.STREAM_WINDOW_FRAMES,
    },
    streamed,
    killGraceMs,
    logger,
  });
  const locks = new LockKeeper({ redisUrl: configuration.REDIS_URL, redisTls: deps.redisTls, workerId, logger });
  const consumers = new QueueConsumers(
    queues,
    { workerId, tokens, slots, pools, locks, running, runner, logger, draining },
    () => runtimes.hasSome,
  );
  const ahead = new ReadyAhead({ runtimes, pools, slots, versions, logger, draining });
  const warmKeeper = new WarmKeeper({ pools, canRun: (version) => runtimes.canRun(version), logger });
  const preparations = new Preparations({
    artifacts,
    workerId,
    preparationOf: (version) => preparationOf(version, runtimes, pools),
    logger,
  });
  const see = (seen: SeenArtifact) => {
    const { settings, namespace, current } = seen;
    preparations.see(seen);
    warmKeeper.see(seen);
    slots.setShare(qualifiedId(seen), settings ?? undefined);
    if (current !== null) ahead.expect(namespace, current);
  };
  const description = new SelfDescription({
    workerId,
    release: deps.release,
    runtimes,
    slots,
    capacity,
    pools,
    consumers,
    secretKeys: () => secretReader.keyIds,
    draining,
  });
  return {
    clock: new RedisClock(redis, (error) => logEvent(logger, 'redis-clock-unread', { err: error }), saySkew(logger)),
    subscriber: new Subscriber(deps.subscriberRedis, (error) => logEvent(logger, 'message-unread', { err: error })),
    artifacts,
    tasks,
    queues,
    ...caches,
    runtimes,
    pools,
    running,
    streamed,
    locks,
    consumers,
    ahead,
    warmKeeper,
    preparations,
    artifactWatch: new ArtifactWatch({ artifacts, watched: stores.lists.watched, onSeen: see, logger }),
    lists: stores.lists,
    description,
    heartbeat: new Heartbeat(new WorkerRegistry(redis), () => Promise.resolve(description.now()), logger),
    orders: new Orders(pools, drain, logger),
    orphans: new OrphanSweep([...deps.runtimes, caches.codeCache, caches.layerCache], logger),
    hostNetwork: new HostNetworkWatch(redis, pools, logger),
    secrets,
    secretWatch: new SecretWatch(secrets, pools, logger),
    housekeeper: composeHousekeeper(deps, stores, queues),
  };
}

function composeStores({ configuration, redis }: WorkerDeps) {
  return {
    artifacts: new ArtifactStore(redis),
    // The worker reads and collects blobs; limits on what comes in are the API's.
    blobs: new BlobStore(redis, { blobBytes: Number.POSITIVE_INFINITY, quotaBytes: Number.POSITIVE_INFINITY }),
    tasks: new TaskStore(redis, {
      ageS: configuration.TASK_RETENTION_S,
      failedAgeS: configuration.TASK_FAILURE_RETENTION_S,
      count: configuration.TASK_RETENTION_COUNT,
      framesAgeS: configuration.STREAM_RETENTION_S,
      mostBytes: configuration.KEPT_MIB * MEBIBYTE,
    }),
    outputs: new OutputStore(redis),
    secrets: new SecretStore(redis),
    lists: new ArtifactLists(redis),
  };
}

function composeCaches({ configuration, presence, stagingDirectory, logger }: WorkerDeps, source: BlobStore) {
  const cacheIn = (directory: string) =>
    new CodeCache({
      directory,
      limitBytes: configuration.CODE_CACHE_MIB * MEBIBYTE,
      source,
      presence,
      isolation: configuration.ISOLATION,
      logger,
    });
  return { codeCache: cacheIn(join(stagingDirectory, 'code')), layerCache: cacheIn(layersIn(stagingDirectory)) };
}

function composeHousekeeper(
  { configuration, redis, logger }: WorkerDeps,
  { tasks, artifacts, blobs, lists }: ReturnType<typeof composeStores>,
  queues: TaskQueues,
): Housekeeper {
  return new Housekeeper({
    lease: new LeaderLease(redis, configuration.WORKER_ID, false),
    queues,
    tasks,
    artifacts,
    lists,
    kept: new KeptStore(redis),
    keptLimits: {
      artifactBytes: configuration.KEPT_MIB * MEBIBYTE,
      namespaceBytes: configuration.NAMESPACE_KEPT_MIB * MEBIBYTE,
    },
    collect: { blobs, graceMs: configuration.BLOB_GRACE_S * 1000 },
    logger,
  });
}
