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
  /** Of all live instances together, as their limits say, MiB. */
  readonly memoryMiB: number;
  readonly workerId: string;
  /** Hears of artifacts, `<namespace>/<artifactId>`, of which an idle instance has gone. */
  readonly onIdleGone: (artifact: string) => void;
  readonly logger: Logger;
}

interface PoolEntry {
  readonly pool: InstancePool;
  readonly code: HeldCode | null;
  /** Tasks that use the pool at the moment, or wait for it. */
  users: number;
}

/** Tasks of one version that are to run at once. */
interface Claim {
  readonly key: string;
  readonly tasks: number;
  readonly memoryMiB: number;
}

/** All pools of one worker, one for each version that it has run lately. */
export class InstancePools {
  readonly #parts: PoolsParts;
  readonly #pools = new Map<string, Promise<PoolEntry>>();
  readonly #open = new Map<string, PoolEntry>();
  /** Who is to hear that an instance has become idle or has gone. */
  readonly #waitingForRoom = new Set<() => void>();
  /** Tasks that have been taken, by who took them: some have no instance yet. */
  readonly #claims = new Map<object, Claim>();

  constructor(parts: PoolsParts) {
    this.#parts = parts;
  }

  /**
   * Uses the pool of a version for as long as `use` runs: its code is on disk, and stays there.
   * @throws ArtifactError `CHECKSUM_MISMATCH` and what else the code cache throws
   */
  async with<T>(namespace: string, version: Version, use: (pool: InstancePool) => Promise<T>): Promise<T> {
    const key = keyOf(namespace, version);
    const entry = await this.#entry(key, namespace, version);
    entry.users++;
    try {
      return await use(entry.pool);
    } finally {
      entry.users--;
    }
  }

  /**
   * Whether a task of the version would get an instance now: one that is idle, or a new one for which there is room, or
   * can be made. Where not, `whenRoom` is called once when that may have changed.
   */
  hasRoom(namespace: string, version: Version, whenRoom: () => void): boolean {
    const key = keyOf(namespace, version);
    const own = this.#sizeOf(key);
    // Of those that are there, one is or becomes free for it.
    if (own > this.#claimed(key)) return true;
    const missing = this.#missing(version.spec.limits.memoryMiB);
    if (missing.instances <= 0 && missing.memoryMiB <= 0) return true;
    for (const { pool } of this.#open.values()) {
      const idle = pool.idle().length;
      missing.instances -= idle;
      missing.memoryMiB -= idle * pool.memoryMiB;
    }
    if (missing.instances <= 0 && missing.memoryMiB <= 0) return true;
    this.#waitingForRoom.add(whenRoom);
    return false;
  }

  /** Says how many tasks of a version are run for `owner` at the moment; each is to have an instance. */
  claim(owner: object, namespace: string, version: Version, tasks: number): void {
    const { memoryMiB } = version.spec.limits;
    if (tasks === 0) this.#claims.delete(owner);
    else this.#claims.set(owner, { key: keyOf(namespace, version), tasks, memoryMiB });
  }

  /** Instances of a version that stand ready. */
  idleOf(namespace: string, version: Version): number {
    return this.#open.get(keyOf(namespace, version))?.pool.idle().length ?? 0;
  }

  #claimed(key: string): number {
    let tasks = 0;
    for (const claim of this.#claims.values()) if (claim.key === key) tasks += claim.tasks;
    return tasks;
  }

  #sizeOf(key: string): number {
    return this.#open.get(key)?.pool.size ?? 0;
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
    for (const { pool } of this.#open.values()) count += pool.size;
    return count;
  }

  /** Stops an instance, at once where it is idle and else when its task has ended; one that is not here is gone. */
  async stopInstance(instanceId: string): Promise<void> {
    for (const { pool } of this.#open.values()) if (await pool.stopInstance(instanceId)) return;
  }

  infos(): InstanceInfo[] {
    return [...this.#open.values()].flatMap(({ pool }) =>
      [...pool.instances].map((instance) => instance.info(this.#parts.workerId)),
    );
  }

  /** Tends every pool, and closes those that have neither instance nor user, so that their code may leave the disk. */
  sweep(): void {
    for (const { pool } of this.#open.values()) pool.tend();
    for (const [key, opening] of this.#pools) {
      void opening.then(
        (entry) => {
          if (entry.users > 0 || entry.pool.size > 0 || this.#pools.get(key) !== opening) return;
          this.#pools.delete(key);
          this.#open.delete(key);
          entry.code?.release();
        },
        () => undefined, // whoever asked for the pool has been told
      );
    }
  }

  /** Stops all instances and waits. May be awaited twice. */
  async close(graceMs: number): Promise<void> {
    await Promise.all([...this.#open.values()].map(({ pool }) => pool.close(graceMs)));
  }

  #entry(key: string, namespace: string, version: Version): Promise<PoolEntry> {
    const known = this.#pools.get(key);
    if (known !== undefined) return known;
    const opening = this.#openPool(key, namespace, version);
    this.#pools.set(key, opening);
    opening.catch(() => this.#pools.delete(key));
    return opening;
  }

  async #openPool(key: string, namespace: string, version: Version): Promise<PoolEntry> {
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
      makeRoom: () => this.#makeRoom(version.spec.limits.memoryMiB),
      hasRoom: () => {
        const { instances, memoryMiB } = this.#missing(version.spec.limits.memoryMiB);
        return instances <= 0 && memoryMiB <= 0;
      },
      onRoom: () => this.#onRoom(),
      onIdleGone: () => this.#parts.onIdleGone(qualifiedId(namespace, version.artifactId)),
    });
    const entry: PoolEntry = { pool, code, users: 0 };
    this.#open.set(key, entry);
    return entry;
  }

  /** What is missing for one more instance; nothing where a figure is 0 or less. */
  #missing(memoryMiB: number): { instances: number; memoryMiB: number } {
    let usedMiB = 0;
    let count = 0;
    for (const { pool } of this.#open.values()) {
      count += pool.size;
      usedMiB += pool.size * pool.memoryMiB;
    }
    for (const { key, tasks, memoryMiB: each } of this.#claims.values()) {
      const without = Math.max(0, tasks - this.#sizeOf(key));
      count += without;
      usedMiB += without * each;
    }
    return {
      instances: count + 1 - this.#parts.maxInstances,
      memoryMiB: usedMiB + memoryMiB - this.#parts.memoryMiB,
    };
  }

  /** Evicts idle instances of all pools, the least recently used first, until there is room for one more or none is left. */
  #makeRoom(memoryMiB: number): void {
    for (;;) {
      const missing = this.#missing(memoryMiB);
      if (missing.instances <= 0 && missing.memoryMiB <= 0) return;
      // Those that are kept warm go last: that they are warm is worth less than that a task runs.
      const next = this.#leastRecent(true) ?? this.#leastRecent(false);
      if (next === null) return;
      void next.pool.evict(next.instance);
    }
  }

  #leastRecent(onlySpare: boolean): { pool: InstancePool; instance: PooledInstance } | null {
    let found: { pool: InstancePool; instance: PooledInstance } | null = null;
    for (const { pool } of this.#open.values()) {
      if (onlySpare && !pool.hasSpare) continue;
      const instance = leastRecent(pool.idle());
      if (instance === null || (found !== null && instance.lastUsedAtMs >= found.instance.lastUsedAtMs)) continue;
      found = { pool, instance };
    }
    return found;
  }

  #onRoom(): void {
    if (this.#waitingForRoom.size === 0) return;
    const waiting = [...this.#waitingForRoom];
    this.#waitingForRoom.clear();
    for (const whenRoom of waiting) whenRoom();
  }
}

const keyOf = (namespace: string, version: Version) =>
  `${qualifiedId(namespace, version.artifactId)}@${version.version}`;
