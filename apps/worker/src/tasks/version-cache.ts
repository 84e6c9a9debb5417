import { qualifiedId } from '@pilum/core/redis/keys.ts';
import type { Version } from '@pilum/core/schemas/artifact.ts';
import type { ArtifactRef } from '@pilum/core/schemas/refs.ts';
import type { ArtifactStore } from '@pilum/core/store/artifact-store.ts';
import { isKnown, type StoredVersion } from '@pilum/core/store/unknown-record.ts';
import { LRUCache } from 'lru-cache';

const MAX_VERSIONS = 2000;

/**
 * Versions that this worker has run or seen. What a version is made of never changes and its number is never given twice, so
 * nothing here grows stale (but its state, which a task that was accepted does not depend on).
 */
export class VersionCache {
  readonly #store: ArtifactStore;
  readonly #versions = new LRUCache<string, Version>({ max: MAX_VERSIONS });

  constructor(store: ArtifactStore) {
    this.#store = store;
  }

  /** The version, or null where its records are gone. One that this release cannot run is read again each time. */
  async get(ref: ArtifactRef, version: number): Promise<StoredVersion | null> {
    const key = keyOf(ref, version);
    const known = this.#versions.get(key);
    if (known !== undefined) return known;
    const found = await this.#store.storedVersion(ref, version);
    if (found !== null && isKnown(found)) this.#versions.set(key, found);
    return found;
  }

  /** A version that was read for another reason, and needs not be read again; false where it is known already. */
  add(namespace: string, version: Version): boolean {
    const key = keyOf({ namespace, artifactId: version.artifactId }, version.version);
    if (this.#versions.has(key)) return false;
    this.#versions.set(key, version);
    return true;
  }
}

const keyOf = (ref: ArtifactRef, version: number) => `${qualifiedId(ref)}@${version}`;
