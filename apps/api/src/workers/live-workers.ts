import type { ArtifactSpec } from '@pilum/core/schemas/artifact-spec.ts';
import type { WorkerInfo } from '@pilum/core/schemas/worker.ts';
import type { ArtifactRuntime } from '@pilum/core/spec/runtimes.ts';
import type { WorkerRegistry } from '@pilum/core/store/worker-registry.ts';

/** How old a list may be before a new one is fetched behind the caller's back, ms. */
const FRESH_MS = 1000;
/** How old a list may be at most, ms. */
const STALE_MS = 5000;

/** Why no worker can run a version. */
export type Obstacle =
  | { readonly missing: 'runtime' }
  /** The largest that a worker with the runtime has. */
  | { readonly missing: 'room'; readonly cpu: number; readonly memoryMiB: number };

/** Which workers live, without a round trip for every call that asks. */
export class LiveWorkers {
  readonly #registry: WorkerRegistry;
  #list: readonly WorkerInfo[] = [];
  #readAt = Number.NEGATIVE_INFINITY;
  #reading: Promise<readonly WorkerInfo[]> | null = null;

  constructor(registry: WorkerRegistry) {
    this.#registry = registry;
  }

  /** The workers as they were at most a few seconds ago. */
  async list(): Promise<readonly WorkerInfo[]> {
    const age = performance.now() - this.#readAt;
    if (age >= STALE_MS) return await this.#read();
    if (age >= FRESH_MS) this.#read().catch(() => undefined); // the one who waits for the next list hears of it
    return this.#list;
  }

  /**
   * Why no worker can run this, or null where one can: it has the runtime, and one task with its instance is no larger than
   * all that it has. A no is never from a list that was kept: a worker may have just come.
   */
  async obstacleTo(spec: ArtifactSpec): Promise<Obstacle | null> {
    return obstacleAmong(await this.list(), spec) && obstacleAmong(await this.#read(), spec);
  }

  /** Tasks that all workers with this runtime run at once. */
  async slotsFor(kind: ArtifactRuntime): Promise<number> {
    return (await this.list())
      .filter((worker) => hasRuntime([worker], kind))
      .reduce((sum, worker) => sum + worker.capacity.tasks, 0);
  }

  async #read(): Promise<readonly WorkerInfo[]> {
    this.#reading ??= this.#registry
      .workers()
      .then((list) => {
        this.#list = list;
        this.#readAt = performance.now();
        return list;
      })
      .finally(() => {
        this.#reading = null;
      });
    return await this.#reading;
  }
}

function obstacleAmong(workers: readonly WorkerInfo[], { runtime, limits }: ArtifactSpec): Obstacle | null {
  const able = workers.filter((worker) => hasRuntime([worker], runtime)).map(({ capacity }) => capacity);
  if (able.length === 0) return { missing: 'runtime' };
  if (able.some(({ cpu, memoryMiB }) => limits.cpu <= cpu && limits.memoryMiB <= memoryMiB)) return null;
  return {
    missing: 'room',
    cpu: Math.max(...able.map(({ cpu }) => cpu)),
    memoryMiB: Math.max(...able.map(({ memoryMiB }) => memoryMiB)),
  };
}

function hasRuntime(workers: readonly WorkerInfo[], kind: ArtifactRuntime): boolean {
  return workers.some(
    ({ runtimes, draining }) =>
      draining !== true && runtimes.some((runtime) => runtime.kind === kind && runtime.available),
  );
}
