import { randomUUID } from 'node:crypto';
import { Housekeeper } from '@pilum/core/housekeeping/housekeeper.ts';
import { LeaderLease } from '@pilum/core/housekeeping/leader-lease.ts';
import { saySkew } from '@pilum/core/lifecycle/say-skew.ts';
import type { Logger } from '@pilum/core/log/logger.ts';
import { TaskQueues } from '@pilum/core/queue/task-queues.ts';
import type { BreakerRedis } from '@pilum/core/redis/breaker-redis.ts';
import type { Redis } from '@pilum/core/redis/connect.ts';
import { CHANNEL_CHANGED } from '@pilum/core/redis/keys.ts';
import { RedisClock } from '@pilum/core/redis/redis-clock.ts';
import { RedisMemory } from '@pilum/core/redis/redis-memory.ts';
import { RedisWatch, type RedisWatchOptions } from '@pilum/core/redis/redis-watch.ts';
import type { Subscriber } from '@pilum/core/redis/subscriber.ts';
import { OutputInbox } from '@pilum/core/replies/output-inbox.ts';
import { ReplyInbox } from '@pilum/core/replies/reply-inbox.ts';
import type { KeySource } from '@pilum/core/secrets/key-source.ts';
import { SecretStore } from '@pilum/core/secrets/secret-store.ts';
import { ArtifactLists } from '@pilum/core/store/artifact-list.ts';
import { ArtifactStore } from '@pilum/core/store/artifact-store.ts';
import { type BlobLimits, BlobStore } from '@pilum/core/store/blob-store.ts';
import { KeptStore } from '@pilum/core/store/kept-store.ts';
import { OutputStore } from '@pilum/core/store/output-store.ts';
import { type Retention, TaskStore } from '@pilum/core/store/task-store.ts';
import { WorkerRegistry } from '@pilum/core/store/worker-registry.ts';
import { Deployer } from './artifacts/deploy.ts';
import { Remover } from './artifacts/remove.ts';
import { ArtifactResolver } from './artifacts/resolve.ts';
import type { ResolveOptions } from './artifacts/resolve-spec.ts';
import { UnfinishedBodies, type UnfinishedLimits, USUAL_UNFINISHED } from './http/unfinished-bodies.ts';
import { BullBoard } from './observability/bull-board.ts';
import { Metrics } from './observability/metrics.ts';
import { StatsHolder } from './observability/stats-holder.ts';
import { OpenStreams } from './streams/open-streams.ts';
import { Acceptor } from './tasks/acceptor.ts';
import { OutcomeWaits } from './tasks/await-outcome.ts';
import { Canceller } from './tasks/canceller.ts';
import { Dispatcher } from './tasks/dispatcher.ts';
import { CompletionEstimate } from './tasks/estimate.ts';
import { InFlightLimit } from './tasks/in-flight-limit.ts';
import { Retrier } from './tasks/retrier.ts';
import { TaskList } from './tasks/task-list.ts';
import { TaskReader } from './tasks/task-reader.ts';
import { LiveWorkers } from './workers/live-workers.ts';
import { whyNobody } from './workers/no-worker.ts';

export interface ServicesOptions {
  /** The connection for all commands. */
  readonly redis: BreakerRedis;
  readonly subscriber: Subscriber;
  /** Makes the connection for the output of running tasks, when it is first needed. */
  readonly connectOutput: () => Redis;
  readonly blobLimits: BlobLimits;
  /** The operator's keys for secrets. */
  readonly secretKeys: KeySource;
  readonly retention: Retention;
  /** Limit of all settled tasks of a namespace together, bytes. */
  readonly namespaceKeptBytes?: number;
  readonly payloadLimitBytes: number;
  /** Limits of unfinished request bodies; the usual ones by default. */
  readonly unfinished?: UnfinishedLimits;
  readonly syncWaitMs: number;
  /** Longest wait of a caller for the acceptance of its task, ms. */
  readonly acceptWithinMs: number;
  readonly allowHostNetwork: boolean;
  /** Whether a worker starts code once before its version is ready. */
  readonly checksDeploys: boolean;
  /** Whether pages of functions may act with the rights of their visitors. */
  readonly trustsPages: boolean;
  /** Images by language, for code whose spec names none. */
  readonly images: ResolveOptions['images'];
  readonly logger: Logger;
  /** Requirements on the Redis behind `redis`. */
  readonly redisChecks?: Pick<RedisWatchOptions, 'allowEviction' | 'isTls'>;
  /** Called with errors of background work. */
  readonly onError: (error: unknown) => void;
}

/** Most calls that wait for Redis concurrently. */
const MAX_WAITING_CALLS = 5000;
/** Limit of their payloads together, bytes; Node and ioredis hold several times as much. */
const MAX_WAITING_BYTES = 64 * 1_048_576;

/** The services that routes use. */
export type Services = Awaited<ReturnType<typeof makeServices>>;

/** Makes all services, without waiting for Redis; {@link openServices} does that. */
export function makeServices(options: ServicesOptions) {
  const { redis, subscriber, blobLimits, retention, payloadLimitBytes, syncWaitMs, allowHostNetwork } = options;
  const artifacts = new ArtifactStore(redis);
  const lists = new ArtifactLists(redis);
  const redisMemory = new RedisMemory(redis);
  const redisWatch = new RedisWatch(redis, {
    ...(options.redisChecks ?? { allowEviction: false, isTls: false }),
    log: options.logger,
  });
  const blobs = new BlobStore(redis, { ...blobLimits, requireRoom: () => redisMemory.requireRoom() });
  const secrets = new SecretStore(redis);
  const tasks = new TaskStore(redis, retention);
  const outputs = new OutputStore(redis);
  const outputInbox = new OutputInbox(options.connectOutput, options.onError);
  const registry = new WorkerRegistry(redis);
  const queues = new TaskQueues(redis);
  const inbox = new ReplyInbox(subscriber, tasks, options.onError);
  const resolver = new ArtifactResolver(artifacts);
  const workers = new LiveWorkers(registry);
  const waits = new OutcomeWaits(inbox, tasks);
  const estimate = new CompletionEstimate(tasks, queues, workers);
  const deployer = new Deployer({
    artifacts,
    blobs,
    secrets,
    keys: options.secretKeys,
    queues,
    resolver,
    allowHostNetwork,
    checksDeploys: options.checksDeploys,
    images: options.images,
    whyNobody: (spec) => whyNobody(workers, spec),
  });
  const remover = new Remover({ artifacts, blobs, secrets, queues, tasks, resolver });
  const redisClock = new RedisClock(redis, options.onError, saySkew(options.logger));
  const acceptor = new Acceptor({
    queues,
    index: tasks.index,
    estimate,
    redisClock,
    redisMemory,
    withinMs: options.acceptWithinMs,
  });
  const dispatcher = new Dispatcher({ resolver, queues, acceptor, tasks, waits, workers, estimate, syncWaitMs });
  const inFlight = new InFlightLimit({ calls: MAX_WAITING_CALLS, bytes: MAX_WAITING_BYTES });
  const reader = new TaskReader({ queues, tasks, outputs, waits, resolver, estimate });
  const canceller = new Canceller({ tasks, queues });
  const list = new TaskList({ artifacts, lists, queues, tasks, reader });
  const retrier = new Retrier({ tasks, queues, resolver, acceptor, list, payloadLimitBytes });
  const kept = new KeptStore(redis);
  // While no worker lives, someone has to end the tasks that wait too long for one.
  const housekeeper = new Housekeeper({
    lease: new LeaderLease(redis, randomUUID(), true),
    queues,
    tasks,
    artifacts,
    lists,
    kept,
    keptLimits: {
      artifactBytes: tasks.mostBytes,
      namespaceBytes: options.namespaceKeptBytes ?? Number.POSITIVE_INFINITY,
    },
    collect: null,
    logger: options.logger,
  });
  const streams = new OpenStreams();
  const unfinished = new UnfinishedBodies(options.unfinished ?? USUAL_UNFINISHED);
  const metrics = new Metrics({
    kept,
    holder: new StatsHolder(redis),
    artifacts,
    tasks,
    queues,
    registry,
    openStreams: () => streams.count,
    unfinished,
  });
  const bullBoard = new BullBoard({ redis, artifacts, queues });
  return {
    redis,
    subscriber,
    artifacts,
    blobs,
    secrets,
    secretKeys: options.secretKeys,
    blobLimitBytes: blobLimits.blobBytes,
    payloadLimitBytes,
    unfinished,
    syncWaitMs,
    trustsPages: options.trustsPages,
    tasks,
    registry,
    queues,
    outputs,
    outputInbox,
    streams,
    inbox,
    resolver,
    workers,
    waits,
    deployer,
    remover,
    dispatcher,
    inFlight,
    reader,
    canceller,
    retrier,
    list,
    metrics,
    bullBoard,
    housekeeper,
    redisClock,
    redisMemory,
    redisWatch,
  };
}

/** Opens the services. Resolves when this process hears of outcomes and changes. */
export async function openServices({
  inbox,
  subscriber,
  resolver,
  metrics,
  housekeeper,
  redisClock,
  redisMemory,
  redisWatch,
}: Services): Promise<void> {
  redisClock.open();
  redisMemory.open();
  redisWatch.open();
  metrics.open();
  subscriber.onGap(() => resolver.forgetAll());
  await redisClock.measured;
  await Promise.all([inbox.open(), subscriber.subscribe(CHANNEL_CHANGED, (message) => resolver.onChanged(message))]);
  housekeeper.open();
}

/** Closes the services, but not the connections, which belong to the caller. */
export async function closeServices(deps: Services): Promise<void> {
  const { inbox, outputInbox, bullBoard, metrics, housekeeper, redisClock, redisMemory, redisWatch, queues, tasks } =
    deps;
  redisClock.close();
  redisMemory.close();
  redisWatch.close();
  await housekeeper.close();
  inbox.close();
  outputInbox.close();
  await Promise.all([bullBoard.close(), metrics.close(), tasks.index.write()]);
  await queues.close();
}
