import type { Redis } from 'ioredis';
import { artifactKeys, queueKeysOf } from '../redis/keys.ts';
import { memoryUse } from '../redis/redis-memory.ts';
import { firstUlidAt } from '../redis/task-id.ts';
import type { ArtifactRef } from '../schemas/refs.ts';
import { LET_GO_OLDEST, SWEEP_KEPT } from './kept-scripts.ts';
import { PURGE } from './purge-scripts.ts';

/** Tasks of each kind that are removed in one step. */
const PURGED_AT_ONCE = 50;

/** Counts what settled tasks hold in Redis, and removes it: the oldest bytes where they are too many, all of it with the artifact. */
export class KeptStore {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** Number of bytes that the settled tasks of each artifact hold. */
  async bytes(artifacts: readonly ArtifactRef[]): Promise<number[]> {
    return await Promise.all(artifacts.map((artifact) => this.bytesOf(artifact)));
  }

  /** Number of bytes that the settled tasks of an artifact hold. */
  async bytesOf(ref: ArtifactRef): Promise<number> {
    return Number((await this.#redis.hget(artifactKeys(ref).stats, 'keptBytes')) ?? 0);
  }

  /** Returns the bytes that Redis may use altogether; null where it has no limit, or does not say. */
  async redisMaxBytes(): Promise<number | null> {
    const use = await memoryUse(this.#redis).catch(() => null);
    return use?.maxBytes ?? null;
  }

  /**
   * Lets a piece of the oldest bytes go.
   * @param mostBytes what the settled tasks may hold
   * @returns whether there is more to let go
   */
  async letGo(ref: ArtifactRef, mostBytes: number): Promise<boolean> {
    const queueKeys = queueKeysOf(ref);
    return (await LET_GO_OLDEST.run(this.#redis, { queue: queueKeys, mostBytes, before: '' })) === 1;
  }

  /**
   * Takes what has expired out of the count, among so many of the oldest entries.
   * @param from how many to pass over
   * @returns where to go on; 0 where that was the end
   */
  async sweep(ref: ArtifactRef, from: number, count: number): Promise<number> {
    const queueKeys = queueKeysOf(ref);
    const [seen, gone] = (await SWEEP_KEPT.run(this.#redis, { queue: queueKeys, from, count })) as [number, number];
    return seen < count ? 0 : from + seen - gone;
  }

  /**
   * Removes a piece of what the tasks of a deleted artifact have left.
   * @param untilMs when it was deleted: tasks accepted later are another's
   * @param endedAfterMs tasks that ended later stay for now
   * @returns how many were removed, and how many stay for now
   */
  async purge(
    ref: ArtifactRef,
    untilMs: number,
    endedAfterMs: number,
  ): Promise<{ readonly removed: number; readonly staying: number }> {
    const [removed, staying] = (await PURGE.run(this.#redis, {
      queue: artifactKeys(ref).queueKeys,
      before: firstUlidAt(untilMs + 1),
      count: PURGED_AT_ONCE,
      endedAfterMs,
    })) as [number, number];
    return { removed, staying };
  }
}
