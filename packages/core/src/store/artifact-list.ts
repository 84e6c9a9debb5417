import type { Redis } from 'ioredis';
import {
  ACTIVE_ARTIFACTS,
  ARTIFACTS_LISTED,
  HOLDING_ARTIFACTS,
  parseQualifiedId,
  qualifiedId,
  RECENT_ARTIFACTS,
  WATCHED_ARTIFACTS,
} from '../redis/keys.ts';
import { sharedNow } from '../redis/shared-time.ts';
import type { ArtifactRef } from '../schemas/refs.ts';
import { UNLIST } from './list-scripts.ts';

/** An artifact without work stays on the list of active ones for so long after it was put there, ms. */
export const ACTIVE_FOR_MS = 60_000;
/** Time that an artifact counts as recent after it was active, ms, and the most that do. */
const RECENT_FOR_MS = 3_600_000;
const MOST_RECENT = 10_000;
/** Artifacts that are read at once, about. */
const PAGE_SIZE = 500;

/** An artifact on a list. */
export interface ListedArtifact extends ArtifactRef {
  /** Time at which it was put on the list last, ms since 1970. */
  readonly listedAtMs: number;
}

/**
 * A list of the artifacts that somebody has to look after, so that nobody asks all of them. Whoever gives an artifact something to look
 * after puts it on the list first; whoever looks and finds nothing takes it off. An artifact may be on the list for nothing, and never
 * the other way round, but where Redis has lost a write: the housekeeper's slow round over all artifacts finds it then.
 */
export class ArtifactList {
  readonly #redis: Redis;
  readonly #key: string;

  constructor(redis: Redis, key: string) {
    this.#redis = redis;
    this.#key = key;
  }

  async put(ref: ArtifactRef): Promise<void> {
    await this.#redis.zadd(this.#key, sharedNow(), qualifiedId(ref));
  }

  /** Puts artifacts on the list that are not there yet; the others stay as they are. */
  async putNew(refs: readonly ArtifactRef[]): Promise<void> {
    if (refs.length === 0) return;
    const now = sharedNow();
    await this.#redis.zadd(this.#key, 'NX', ...refs.flatMap((ref) => [now, qualifiedId(ref)]));
  }

  /** Takes an artifact off the list, unless it was put on it again since it was seen; returns whether it is off. */
  async takeOff(ref: ListedArtifact): Promise<boolean> {
    const { listedAtMs } = ref;
    return (await UNLIST.run(this.#redis, { list: this.#key, member: qualifiedId(ref), listedAtMs })) === 1;
  }

  /** Yields what is on the list, a page at a time. One that is put on it or taken off meanwhile may be there or not, or twice. */
  async *pages(): AsyncGenerator<ListedArtifact[]> {
    let cursor = '0';
    do {
      const page = await this.page(cursor);
      cursor = page.next;
      if (page.artifacts.length > 0) yield page.artifacts;
    } while (cursor !== '0');
  }

  /**
   * Reads one page.
   * @param cursor '0' for the first page
   * @returns the page, and the cursor of the next one; '0' after the last
   */
  async page(cursor: string): Promise<{ artifacts: ListedArtifact[]; next: string }> {
    const [next, found] = await this.#redis.zscan(this.#key, cursor, 'COUNT', PAGE_SIZE);
    const artifacts: ListedArtifact[] = [];
    for (let i = 0; i < found.length; i += 2) {
      artifacts.push({ ...parseQualifiedId(found[i] ?? ''), listedAtMs: Number(found[i + 1]) });
    }
    return { artifacts, next };
  }
}

/** The lists of artifacts, each for somebody who looks after what is on it. */
export class ArtifactLists {
  /** Artifacts that have tasks which wait or run, or had some a moment ago, or that are being deleted. */
  readonly active: ArtifactList;
  /** Artifacts whose settled tasks hold something, which is to be kept within its limits. */
  readonly holding: ArtifactList;
  /** Artifacts that workers look after without being called: to keep instances warm, to make a version ready, or to share slots. */
  readonly watched: ArtifactList;
  /** Artifacts that were active in the last hour and are not any more; see {@link trimRecent}. */
  readonly recent: ArtifactList;
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
    this.active = new ArtifactList(redis, ACTIVE_ARTIFACTS);
    this.holding = new ArtifactList(redis, HOLDING_ARTIFACTS);
    this.watched = new ArtifactList(redis, WATCHED_ARTIFACTS);
    this.recent = new ArtifactList(redis, RECENT_ARTIFACTS);
  }

  /** Takes what was not active in the last hour off the list of recent artifacts, and the oldest over its number. */
  async trimRecent(): Promise<void> {
    await this.#redis.zremrangebyscore(RECENT_ARTIFACTS, 0, sharedNow() - RECENT_FOR_MS);
    await this.#redis.zremrangebyrank(RECENT_ARTIFACTS, 0, -MOST_RECENT - 1);
  }

  /** Lists the artifacts that are active, and those that were active last, so many at most. */
  async latest(count: number): Promise<ArtifactRef[]> {
    const latest = new Set<string>();
    for (const key of [ACTIVE_ARTIFACTS, RECENT_ARTIFACTS]) {
      for (const member of await this.#redis.zrevrange(key, 0, count - 1)) latest.add(member);
      if (latest.size >= count) break;
    }
    return [...latest].slice(0, count).map(parseQualifiedId);
  }

  /** Returns whether the lists are kept: once, all artifacts have to be put on them. */
  async areKept(): Promise<boolean> {
    return (await this.#redis.exists(ARTIFACTS_LISTED)) === 1;
  }

  /** Notes that all artifacts are on the lists that have to be. */
  async noteKept(): Promise<void> {
    await this.#redis.set(ARTIFACTS_LISTED, '1');
  }
}
