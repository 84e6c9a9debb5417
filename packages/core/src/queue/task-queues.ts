import { Queue, type QueueOptions, type RedisQueueBackend } from 'bullmq';
import type { Redis } from 'ioredis';
import { LRUCache } from 'lru-cache';
import { artifactKeys, QUEUE_NAME, qualifiedId } from '../redis/keys.ts';
import type { ArtifactRef } from '../schemas/refs.ts';
import { type ArtifactList, ArtifactLists } from '../store/artifact-list.ts';
import { DELAYED_SCORE_PER_MS } from './bull-format.ts';
import { ConnectionAge } from './connection-age.ts';
import { LOCK_DURATION_MS } from './lock-times.ts';
import { LOOK } from './look.ts';
import { TaskQueue } from './task-queue.ts';

/**
 * Lock, renewal and the stalled check together bound the recovery: a lock outlives its worker by 5 s, the check looks every
 * 2 s (in each of the housekeeper's rounds, hence a little less) and needs to have seen the job once before.
 */
const STALLED_CHECK_MS = 1900;
/** Handles that are kept for the next call; one that is not is made again. */
const MAX_HANDLES = 2000;

/** The work that a queue holds. */
export interface QueueLook {
  /** Jobs that wait and are not delayed. */
  readonly due: number;
  readonly delayed: number;
  readonly active: number;
  /** Time at which the first of the delayed ones falls due, ms since 1970; null where there is none. */
  readonly nextDueAtMs: number | null;
  /** Time at which the artifact was deleted, ms since 1970; null where it was not. */
  readonly deletedAtMs: number | null;
  /** Tasks accepted up to this moment are to be removed, with all that is kept of them, ms since 1970; null where there are none. */
  readonly purgeUntilMs: number | null;
  /** Time on Redis's clock, ms since 1970. */
  readonly nowMs: number;
}

/** All queues of one process over one shared connection: their number costs no connections. */
export class TaskQueues {
  readonly #redis: Redis;
  readonly #root: Queue;
  readonly #active: ArtifactList;
  readonly #connection: ConnectionAge;
  readonly #handles = new LRUCache<string, TaskQueue>({ max: MAX_HANDLES });

  constructor(redis: Redis) {
    this.#redis = redis;
    this.#active = new ArtifactLists(redis).active;
    this.#connection = new ConnectionAge(redis);
    // Each BullMQ handle may listen for errors on the shared connection. (BullMQ adds to the number, so that 0, which is
    // no limit to Node, would come to 3.)
    redis.setMaxListeners(Number.POSITIVE_INFINITY);
    const options: QueueOptions & Record<string, unknown> = {
      connection: redis,
      prefix: '{pilum}',
      skipMetasUpdate: true,
      // Read by the scripts that fetch and recover jobs; our recovery count decides, never BullMQ's.
      lockDuration: LOCK_DURATION_MS,
      stalledInterval: STALLED_CHECK_MS,
      maxStalledCount: Number.MAX_SAFE_INTEGER,
    };
    this.#root = new Queue(QUEUE_NAME, options);
    this.#root.on('error', () => undefined); // the owner of the connection hears it as well, and says so
  }

  /** A handle on an artifact's queue; making one costs no round trip. */
  of(ref: ArtifactRef): TaskQueue {
    const id = qualifiedId(ref);
    const known = this.#handles.get(id);
    if (known !== undefined) return known;
    const { queuePrefix } = artifactKeys(ref);
    const backend = this.#root.getBackend().forQueue(QUEUE_NAME, queuePrefix) as RedisQueueBackend;
    const handle = new TaskQueue(this.#redis, this.#active, this.#connection, backend, ref);
    this.#handles.set(id, handle);
    return handle;
  }

  /** Returns what there is to do in an artifact's queue; cheaper than a handle on it. */
  async look(ref: ArtifactRef): Promise<QueueLook> {
    const { queuePrefix, artifact } = artifactKeys(ref);
    const queue = `${queuePrefix}:${QUEUE_NAME}`;
    const [due, delayed, active, first, deleted, purgeUntil, nowMs] = (await LOOK.run(this.#redis, {
      wait: `${queue}:wait`,
      prioritized: `${queue}:prioritized`,
      delayed: `${queue}:delayed`,
      active: `${queue}:active`,
      artifact,
    })) as [number, number, number, string, string, string, number];
    return {
      due,
      delayed,
      active,
      nextDueAtMs: first === '' ? null : Math.floor(Number(first) / DELAYED_SCORE_PER_MS),
      deletedAtMs: deleted === '' ? null : Number(deleted),
      purgeUntilMs: purgeUntil === '' ? null : Number(purgeUntil),
      nowMs,
    };
  }

  async close(): Promise<void> {
    await this.#root.close();
  }
}
