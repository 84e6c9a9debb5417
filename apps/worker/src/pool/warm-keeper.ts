import { logEvent } from '@pilum/core/log/log-events.ts';
import { qualifiedId } from '@pilum/core/redis/keys.ts';
import type { Version } from '@pilum/core/schemas/artifact.ts';
import type { Logger } from 'pino';
import type { SeenArtifact } from '../artifacts/artifact-watch.ts';
import type { InstancePools } from './instance-pools.ts';

export interface WarmKeeperDeps {
  readonly pools: InstancePools;
  /** Whether the worker could start an instance of the version now. */
  readonly canRun: (version: Version) => boolean;
  readonly logger: Logger;
}

interface Kept {
  readonly version: number;
  readonly min: number;
  readonly let: AbortController;
}

/**
 * Keeps `pool.min` instances of each artifact ready, of the version that its bare id means: from its deployment on, and
 * again after a restart of the worker.
 */
export class WarmKeeper {
  readonly #deps: WarmKeeperDeps;
  readonly #kept = new Map<string, Kept>();
  #isClosed = false;

  constructor(deps: WarmKeeperDeps) {
    this.#deps = deps;
  }

  /** Keeps what the artifact says now. */
  see(seen: SeenArtifact): void {
    const { namespace, artifactId, current } = seen;
    const { pools, canRun, logger } = this.#deps;
    const key = qualifiedId(seen);
    const min = current !== null && canRun(current) ? current.spec.pool.min : 0;
    const kept = this.#kept.get(key);
    if (kept !== undefined && kept.version === current?.version && kept.min === min) return;
    kept?.let.abort();
    this.#kept.delete(key);
    if (current === null || min === 0 || this.#isClosed) return;
    const mine: Kept = { version: current.version, min, let: new AbortController() };
    this.#kept.set(key, mine);
    pools.keep(namespace, current, min, mine.let.signal).catch((error: unknown) => {
      logEvent(logger, 'not-kept-warm', { err: error, artifactId });
      // It is tried again when the artifact is seen again.
      if (this.#kept.get(key) === mine) this.#kept.delete(key);
    });
  }

  /** Keeps nothing any more; the instances are the pools' to stop. */
  close(): void {
    this.#isClosed = true;
    for (const kept of this.#kept.values()) kept.let.abort();
    this.#kept.clear();
  }
}
