import { qualifiedId } from '@pilum/core/redis/keys.ts';
import type { Version } from '@pilum/core/schemas/artifact.ts';
import type { InstanceInfo } from '@pilum/core/schemas/worker.ts';
import type { Logger } from 'pino';
import type { CodeCache, HeldCode } from '../code/code-cache.ts';
import type { Runtime, Snapshot } from '../runtimes/runtime.ts';
import { leastRecent } from './choose-instance.ts';
import { InstancePool } from './instance-pool.ts';
import type { PooledInstance } from './pooled-instance.ts';

export interface PoolsParts {
  readonly codeCache: CodeCache;
  readonly runtimeFor: (version: Version) => Runtime;
  readonly killGraceMs: number;
  /** Live instances on this worker, idle ones included. */
  readonly maxInstances: number;
  readonly workerId: string;
  readonly logger: Logger;
}

interface PoolEntry {
  readonly pool: InstancePool;
  readonly code: HeldCode | null;
  /** Tasks that use the pool at the moment, or wait for it. */
  users: number;
}

/** All pools of one worker, one for each version that it has run lately. */
export class InstancePools {
  readonly #parts: PoolsParts;
  readonly #pools = new Map<string, Promise<PoolEntry>>();
  readonly #open = new Set<PoolEntry>();

  constructor(parts: PoolsParts) {
    this.#parts = parts;
  }

  /**
   * Uses the pool of a version for as long as `use` runs: its code is on disk, and stays there.
   * @throws ArtifactError `CHECKSUM_MISMATCH` and what else the code cache throws
   */
  async with<T>(namespace: string, version: Version, use: (pool: InstancePool) => Promise<T>): Promise<T> {
    const key = `${qualifiedId(namespace, version.artifactId)}@${version.version}`;
    const entry = await this.#entry(key, namespace, version);
    entry.users++;
    try {
      return await use(entry.pool);
    } finally {
      entry.users--;
    }
  }

  /**
   * Keeps so many instances of a version until `signal` is aborted, and its code on disk.
   * @throws what the code cache throws
   */
  async keep(namespace: string, version: Version, min: number, signal: AbortSignal): Promise<void> {
    await this.with(namespace, version, async (pool) => {
      pool.keep(min);
      if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      pool.keep(0);
    });
  }

  get instanceCount(): number {
    let count = 0;
    for (const { pool } of this.#open) count += pool.size;
    return count;
  }

  /** Stops an instance, at once where it is idle and else when its task has ended; one that is not here is gone. */
  async stopInstance(instanceId: string): Promise<void> {
    for (const { pool } of this.#open) if (await pool.stopInstance(instanceId)) return;
  }

  infos(): InstanceInfo[] {
    return [...this.#open].flatMap(({ pool }) =>
      [...pool.instances].map((instance) => instance.info(this.#parts.workerId)),
    );
  }

  /** Tends every pool, and closes those that have neither instance nor user, so that their code may leave the disk. */
  sweep(): void {
    for (const { pool } of this.#open) pool.tend();
    for (const [key, opening] of this.#pools) {
      void opening.then(
        (entry) => {
          if (entry.users > 0 || entry.pool.size > 0 || this.#pools.get(key) !== opening) return;
          this.#pools.delete(key);
          this.#open.delete(entry);
          entry.code?.release();
        },
        () => undefined, // whoever asked for the pool has been told
      );
    }
  }

  /** Stops all instances and waits. May be awaited twice. */
  async close(graceMs: number): Promise<void> {
    await Promise.all([...this.#open].map(({ pool }) => pool.close(graceMs)));
  }

  #entry(key: string, namespace: string, version: Version): Promise<PoolEntry> {
    const known = this.#pools.get(key);
    if (known !== undefined) return known;
    const opening = this.#openPool(namespace, version);
    this.#pools.set(key, opening);
    opening.catch(() => this.#pools.delete(key));
    return opening;
  }

  async #openPool(namespace: string, version: Version): Promise<PoolEntry> {
    const { codeCache, runtimeFor, killGraceMs, logger } = this.#parts;
    const code = version.code === null ? null : await codeCache.hold(namespace, version.code);
    const snapshot: Snapshot = { namespace, version, codeDirectory: code?.directory ?? null };
    const pool = new InstancePool(snapshot, {
      runtime: runtimeFor(version),
      verifyCode: async () => {
        await code?.verify();
      },
      killGraceMs,
      logger,
      makeRoom: () => this.#makeRoom(),
    });
    const entry: PoolEntry = { pool, code, users: 0 };
    this.#open.add(entry);
    return entry;
  }

  /** Evicts the least recently used idle instance of all pools while there are as many as there may be. */
  #makeRoom(): void {
    if (this.instanceCount < this.#parts.maxInstances) return;
    let oldest: PooledInstance | null = null;
    let home: InstancePool | null = null;
    for (const { pool } of this.#open) {
      const candidate = leastRecent(pool.evictable());
      if (candidate !== null && (oldest === null || candidate.lastUsedAtMs < oldest.lastUsedAtMs)) {
        oldest = candidate;
        home = pool;
      }
    }
    if (home !== null && oldest !== null) void home.evict(oldest);
  }
}
