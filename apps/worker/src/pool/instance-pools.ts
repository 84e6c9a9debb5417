import { qualifiedId } from '@pilum/core/redis/keys.ts';
import type { Version } from '@pilum/core/schemas/artifact.ts';
import type { InstanceInfo } from '@pilum/core/schemas/worker.ts';
import type { Logger } from 'pino';
import { AdmissionQueue } from '../capacity/admission-queue.ts';
import { type CapacityUse, fits, type InstanceCapacity, totalOf } from '../capacity/capacity.ts';
import { Reservations } from '../capacity/reservations.ts';
import { type FileCaches, holdFiles, type PinnedFiles } from '../code/pinned-files.ts';
import type { InstanceSecrets } from '../runtimes/contract/instance-secrets.ts';
import type { RunnableVersion, Runtime } from '../runtimes/contract/runtime.ts';
import { wantsSecrets } from '../secrets/secret-reader.ts';
import { leastRecent } from './choose-instance.ts';
import { InstancePool } from './instance-pool.ts';
import type { PooledInstance } from './pooled-instance.ts';

export interface PoolsDeps extends FileCaches {
  readonly runtimeFor: (version: Version) => Runtime;
  /** Whether the runtime of a version works here at the moment. */
  readonly canRun: (version: Version) => boolean;
  /** Refuses a start of a version that is not allowed at the moment. */
  readonly admit: (version: Version) => Promise<void>;
  /** Reads the secrets of a version as they are now; null where it has none. */
  readonly secretsOf: (namespace: string, version: Version) => Promise<InstanceSecrets | null>;
  readonly killGraceMs: number;
  readonly capacity: InstanceCapacity;
  readonly workerId: string;
  /** Hears of artifacts, `<namespace>/<artifactId>`, of which an idle instance has gone. */
  readonly onIdleGone: (artifact: string) => void;
  readonly logger: Logger;
}

interface PoolEntry {
  readonly pool: InstancePool;
  readonly files: PinnedFiles;
  /** On the clock of `performance.now()`. */
  readonly openedAt: number;
  /** Tasks that use the pool at the moment, or wait for it. */
  users: number;
}

/** Instances and tasks that are to be there besides those that are there already. */
interface More {
  readonly key: string;
  readonly version: Version;
  readonly tasks: number;
  readonly instances: number;
}

/** All pools of one worker, one for each version that it has run lately. */
export class InstancePools {
  readonly #deps: PoolsDeps;
  readonly #pools = new Map<string, Promise<PoolEntry>>();
  readonly #open = new Map<string, PoolEntry>();
  readonly #line = new AdmissionQueue();
  readonly #claims = new Reservations();

  constructor(deps: PoolsDeps) {
    this.#deps = deps;
  }

  /**
   * Uses the pool of a version for as long as `use` runs: its code and its layers are on disk, and stay there. `use` is told how
   * long it took to unpack them, ms, where that was waited for.
   * @throws ArtifactError `CHECKSUM_MISMATCH` and what else the code cache throws
   */
  async with<T>(
    namespace: string,
    version: Version,
    use: (pool: InstancePool, unpackMs: number) => Promise<T>,
  ): Promise<T> {
    const key = keyOf(namespace, version);
    const since = performance.now();
    const entry = await this.#entry(key, namespace, version);
    entry.users++;
    try {
      // Whoever found them unpacked has not waited for that.
      return await use(entry.pool, entry.openedAt >= since ? entry.files.unpackMs : 0);
    } finally {
      entry.users--;
    }
  }

  /** Whether this worker could run a task of the version if it had nothing else to do. */
  canHold(version: Version): boolean {
    const { capacity, canRun } = this.#deps;
    const { limits } = version.spec;
    return canRun(version) && fits({ instances: 1, memoryMiB: limits.memoryMiB, cpu: limits.cpu }, capacity);
  }

  /**
   * Whether there is room for one more task of the version: processors, and an instance that is idle, or can be started,
   * if need be in the place of idle ones. Where not, or where others came first, `whenRoom` stands in line, and is called
   * when there may be room and it is its turn. It stays in line, the first one also before who comes later, until it
   * has taken what there is or needs nothing any more, and leaves.
   */
  hasRoom(namespace: string, version: Version, whenRoom: () => void): boolean {
    const more = { key: keyOf(namespace, version), version, tasks: 1, instances: 0 };
    // What is there as it is costs less to find out than what could be made, and is the usual case.
    const has = !this.#line.isHeldUp(whenRoom) && (this.#fits('kept', more) || this.#fits('stopped', more));
    if (!has) this.#line.join(whenRoom);
    return has;
  }

  /** Whether others wait for room. */
  othersWaitForRoom(whenRoom: () => void): boolean {
    return this.#line.hasOther(whenRoom);
  }

  /** Has taken room for its task, or has none to run at the moment. */
  leaveLine(whenRoom: () => void): void {
    this.#line.leave(whenRoom);
  }

  /**
   * Says how many tasks of a version `owner` has at the moment, and how many it may be handed at any time; each is to have
   * an instance, and its processors.
   */
  claim(owner: object, namespace: string, version: Version, tasks: number, offered = 0): void {
    if (this.#claims.set(owner, { key: keyOf(namespace, version), version, tasks, offered })) this.#line.wake();
  }

  /** Instances of a version that stand ready. */
  idleOf(namespace: string, version: Version): number {
    return this.#open.get(keyOf(namespace, version))?.pool.idleCount ?? 0;
  }

  /** Whether more is claimed than there is room for. */
  get isOverfull(): boolean {
    return !this.#fits('stopped');
  }

  /** Capacity in use: processors by tasks, memory by instances, idle ones included. */
  get inUse(): { cpu: number; memoryMiB: number } {
    const { cpu, memoryMiB } = totalOf(this.#uses(), 'kept');
    return { cpu: Math.max(0, cpu - this.#claims.offeredCpu), memoryMiB };
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

  /** Memory that is left for instances, MiB; below 0 where more are being started. */
  get spareMemoryMiB(): number {
    return this.#deps.capacity.memoryMiB - totalOf(this.#uses(), 'kept').memoryMiB;
  }

  /** Stops an instance, at once where it is idle and else when its task has ended; one that is not here is gone. */
  async stopInstance(instanceId: string): Promise<void> {
    for (const { pool } of this.#open.values()) if (await pool.stopInstance(instanceId)) return;
  }

  /** Whether there are instances of some versions. */
  hasSome(which: (version: Version) => boolean): boolean {
    return [...this.#open.values()].some(({ pool }) => pool.size > 0 && which(pool.runnable.version));
  }

  /** Stops all instances of some versions, as {@link stopInstance} does. */
  async stopAllOf(which: (version: Version) => boolean): Promise<void> {
    const pools = [...this.#open.values()].map(({ pool }) => pool).filter(({ runnable }) => which(runnable.version));
    const ids = pools.flatMap((pool) => [...pool.instances].map(({ instanceId }) => instanceId));
    await Promise.all(ids.map((id) => this.stopInstance(id)));
  }

  /** The namespaces of instances that have secrets. */
  namespacesWithSecrets(): Set<string> {
    const having = [...this.#open.values()].filter(({ pool }) => pool.size > 0 && wantsSecrets(pool.runnable.version));
    return new Set(having.map(({ pool }) => pool.runnable.namespace));
  }

  /** The names of the secrets that instances of a namespace have. */
  secretsHeld(namespace: string): Set<string> {
    return new Set([...this.#instancesIn(namespace)].flatMap((instance) => Object.keys(instance.secretVersions)));
  }

  /**
   * Stops the instances whose secrets have other versions, as {@link stopInstance} does; resolves with their number.
   * @param now versions by name; secrets that are not among them count as they are
   */
  async stopOutdated(namespace: string, now: ReadonlyMap<string, number>): Promise<number> {
    const outdated = [...this.#instancesIn(namespace)].filter(({ secretVersions }) =>
      Object.entries(secretVersions).some(([name, version]) => (now.get(name) ?? version) !== version),
    );
    // One that runs its last task is counted when it was told so.
    const fresh = outdated.filter(({ reusable, state }) => reusable || state === 'ready');
    await Promise.all(outdated.map(({ instanceId }) => this.stopInstance(instanceId)));
    return fresh.length;
  }

  *#instancesIn(namespace: string): Generator<PooledInstance> {
    for (const { pool } of this.#open.values()) if (pool.runnable.namespace === namespace) yield* pool.instances;
  }

  infos(): InstanceInfo[] {
    return [...this.#open.values()].flatMap(({ pool }) =>
      [...pool.instances].map((instance) => instance.info(this.#deps.workerId)),
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
          entry.files.release();
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
    const { runtimeFor, killGraceMs, logger } = this.#deps;
    const files = await holdFiles(this.#deps, namespace, version);
    const { codeDirectory, layers } = files;
    const runnable: RunnableVersion = { namespace, version, codeDirectory, layers };
    const oneMore = { key, version, tasks: 0, instances: 1 };
    const pool = new InstancePool(runnable, {
      runtime: runtimeFor(version),
      verifyCode: () => files.verify(),
      admit: () => this.#deps.admit(version),
      secrets: () => this.#deps.secretsOf(namespace, version),
      killGraceMs,
      logger,
      makeRoom: () => this.#makeRoom(oneMore),
      hasRoom: () => this.#hasPlaceFor(oneMore),
      onRoom: () => this.#line.wake(),
      onIdleGone: () => this.#deps.onIdleGone(qualifiedId({ namespace, artifactId: version.artifactId })),
    });
    const entry: PoolEntry = { pool, files, openedAt: performance.now(), users: 0 };
    this.#open.set(key, entry);
    return entry;
  }

  #fits(idleOnes: 'kept' | 'stopped', more?: More): boolean {
    return fits(totalOf(this.#uses(more), idleOnes), this.#deps.capacity);
  }

  /** Whether there is room for one more instance as it is; whether its task has its processors is seen to before. */
  #hasPlaceFor(more: More): boolean {
    return fits({ ...totalOf(this.#uses(more), 'kept'), cpu: 0 }, this.#deps.capacity);
  }

  /** Yields what each version uses, and `more` with it. */
  *#uses(more?: More): Generator<CapacityUse> {
    const claimed = this.#claims.byKey();
    if (more !== undefined) {
      const tasks = more.tasks + (claimed.get(more.key)?.tasks ?? 0);
      claimed.set(more.key, { version: more.version, tasks });
    }
    for (const [key, { pool }] of this.#open) {
      const { busy, idle, leaving } = pool.census();
      const starting = more?.key === key ? more.instances : 0;
      yield useOf(pool.runnable.version, claimed.get(key)?.tasks ?? 0, { busy: busy + starting, idle, leaving });
      claimed.delete(key);
    }
    for (const { version, tasks } of claimed.values()) yield useOf(version, tasks, { busy: 0, idle: 0, leaving: 0 });
  }

  /** Evicts idle instances of all pools, the least recently used first, until there is room for more or none is left. */
  #makeRoom(more: More): void {
    while (!this.#hasPlaceFor(more)) {
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
}

const keyOf = (namespace: string, version: Version) =>
  `${qualifiedId({ namespace, artifactId: version.artifactId })}@${version.version}`;

const useOf = (
  { spec: { limits, pool } }: Version,
  tasks: number,
  instances: Pick<CapacityUse, 'busy' | 'idle' | 'leaving'>,
): CapacityUse => ({
  // Tasks that share an instance share what it may use.
  tasks: Math.ceil(tasks / pool.concurrency),
  ...instances,
  memoryMiB: limits.memoryMiB,
  cpu: limits.cpu,
});
