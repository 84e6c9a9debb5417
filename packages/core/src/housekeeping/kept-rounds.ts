import type { Logger } from 'pino';
import { logEvent } from '../log/log-events.ts';
import { qualifiedId } from '../redis/keys.ts';
import type { ArtifactRef } from '../schemas/refs.ts';
import type { ArtifactList, ListedArtifact } from '../store/artifact-list.ts';
import type { KeptStore } from '../store/kept-store.ts';

/** Part of the memory of a Redis with a limit that settled tasks may hold. */
const PART_OF_REDIS = 0.5;

/** Limits on what settled tasks may hold together, bytes. */
export interface KeptLimits {
  readonly artifactBytes: number;
  readonly namespaceBytes: number;
}

interface Holding {
  readonly namespace: string;
  readonly artifactId: string;
  readonly bytes: number;
}

/** Entries that are looked at in one round, whether they have expired. */
const SWEPT = 500;
/** Idle artifacts that are looked at in one round. */
const IDLE_LOOKED_AT = 2000;
/** Pieces that are let go of one artifact in one round. */
const PIECES = 50;

/**
 * Goes round over what settled tasks hold: of the artifacts that are active, and of the others that hold something. An artifact keeps to its limit by itself, with each task that ends; here it is held to a limit
 * that was lowered, a namespace to its own, and what has expired is taken out of the count.
 */
export class KeptRounds {
  readonly #kept: KeptStore;
  readonly #limits: KeptLimits;
  readonly #logger: Logger;
  /** Position from which to look for expired entries next. */
  readonly #sweepFrom = new Map<string, number>();
  /** By qualified id, as it was found last: of artifacts that are idle that changes only as it expires. */
  readonly #holdings = new Map<string, Holding>();
  readonly #holding: ArtifactList;
  /** Cursor in the list of those that are idle. */
  #cursor = '0';

  constructor(kept: KeptStore, holding: ArtifactList, limits: KeptLimits, logger: Logger) {
    this.#kept = kept;
    this.#holding = holding;
    this.#limits = limits;
    this.#logger = logger;
  }

  /** Looks at a page of artifacts. */
  async look(page: readonly ArtifactRef[]): Promise<void> {
    const bytes = await this.#kept.bytes(page);
    for (const [index, artifact] of page.entries()) await this.#note(artifact, bytes[index] ?? 0);
  }

  async #note(artifact: ArtifactRef, held: number): Promise<void> {
    const id = qualifiedId(artifact);
    if (held <= 0) {
      this.#holdings.delete(id);
      this.#sweepFrom.delete(id);
      return;
    }
    const { namespace, artifactId } = artifact;
    this.#holdings.set(id, { namespace, artifactId, bytes: held });
    const next = await this.#kept.sweep(artifact, this.#sweepFrom.get(id) ?? 0, SWEPT);
    if (next === 0) this.#sweepFrom.delete(id);
    else this.#sweepFrom.set(id, next);
  }

  /** Looks at artifacts that are idle and hold something; those that hold nothing any more go off the list. */
  async #lookAtIdle(): Promise<void> {
    for (let seen = 0; seen < IDLE_LOOKED_AT; ) {
      const { artifacts, next } = await this.#holding.page(this.#cursor);
      this.#cursor = next;
      seen += artifacts.length;
      await this.look(artifacts);
      const empty = artifacts.filter((artifact: ListedArtifact) => !this.#holdings.has(qualifiedId(artifact)));
      await Promise.all(empty.map((artifact) => this.#holding.takeOff(artifact)));
      if (next === '0') return;
    }
  }

  /** Ends a round over all pages: lets go what is over the limits, the largest artifacts of a namespace first. */
  async end(): Promise<void> {
    await this.#lookAtIdle();
    const holdings = [...this.#holdings.values()];
    const byNamespace = Map.groupBy(await this.#withinRedis(holdings), ({ namespace }) => namespace);
    for (const [namespace, holdings] of byNamespace) {
      let sum = 0;
      for (const { bytes } of holdings) sum += Math.min(bytes, this.#limits.artifactBytes);
      const over = sum - this.#limits.namespaceBytes;
      if (over > 0) {
        const { namespaceBytes } = this.#limits;
        logEvent(this.#logger, 'namespace-over-limit', { namespace, bytes: sum, namespaceBytes });
      }
      let left = Math.max(0, over);
      for (const holding of holdings.sort((a, b) => b.bytes - a.bytes)) {
        const { bytes } = holding;
        const held = Math.min(bytes, this.#limits.artifactBytes);
        const most = Math.max(0, held - left);
        left -= held - most;
        if (most < bytes) await this.#letGo(holding, most);
      }
    }
  }

  /** Lets go what is more than Redis has room for, the largest artifacts of all first; returns what is left. */
  async #withinRedis(holdings: readonly Holding[]): Promise<readonly Holding[]> {
    const most = ((await this.#kept.redisMaxBytes()) ?? Number.POSITIVE_INFINITY) * PART_OF_REDIS;
    let over = holdings.reduce((sum, { bytes }) => sum + bytes, 0) - most;
    if (over <= 0) return holdings;
    logEvent(this.#logger, 'redis-half-full', { mostBytes: most });
    const left: Holding[] = [];
    for (const holding of holdings.toSorted((a, b) => b.bytes - a.bytes)) {
      const bytes = Math.max(0, holding.bytes - Math.max(0, over));
      over -= holding.bytes - bytes;
      if (bytes < holding.bytes) await this.#letGo(holding, bytes);
      left.push({ ...holding, bytes });
    }
    return left;
  }

  async #letGo(ref: ArtifactRef, mostBytes: number): Promise<void> {
    // What it comes to is seen in the next round.
    for (let piece = 0; piece < PIECES; piece += 1) {
      if (!(await this.#kept.letGo(ref, mostBytes))) return;
    }
  }
}
