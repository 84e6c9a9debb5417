import type { ArtifactSpec } from '@pilum/core/schemas/artifact-spec.ts';
import type { InterpreterInfo, RuntimeStatus, WorkerInfo } from '@pilum/core/schemas/worker.ts';
import { canRunOn, hasInterpreter } from '@pilum/core/spec/can-run.ts';
import type { ArtifactRuntime } from '@pilum/core/spec/runtimes.ts';
import type { WorkerRegistry } from '@pilum/core/store/worker-registry.ts';

/** Age of a list from which on a new one is read in the background, ms. */
const FRESH_MS = 1000;
/** Greatest age of a list that is used, ms. */
const STALE_MS = 5000;

/** The reason why no live worker can run a version. */
export type Obstacle =
  | { readonly missing: 'runtime' }
  /** A key for secrets. */
  | { readonly missing: 'key' }
  /** The interpreters that workers with the runtime have. */
  | { readonly missing: 'interpreter'; readonly there: readonly InterpreterInfo[] }
  /** The notes of those that have the runtime, and relay no network. */
  | { readonly missing: 'network'; readonly notes: readonly string[] }
  /** The capacity of the largest worker that has the runtime. */
  | { readonly missing: 'room'; readonly cpu: number; readonly memoryMiB: number };

/** Keeps a list of the live workers, so that calls need no round trip for it. */
export class LiveWorkers {
  readonly #registry: WorkerRegistry;
  #list: readonly WorkerInfo[] = [];
  #readAt = Number.NEGATIVE_INFINITY;
  #reading: Promise<readonly WorkerInfo[]> | null = null;

  constructor(registry: WorkerRegistry) {
    this.#registry = registry;
  }

  /** Returns the live workers of at most a few seconds ago. */
  async list(): Promise<readonly WorkerInfo[]> {
    const age = performance.now() - this.#readAt;
    if (age >= STALE_MS) return await this.#read();
    if (age >= FRESH_MS) this.#read().catch(() => undefined); // the one who waits for the next list hears of it
    return this.#list;
  }

  /** Whether a live worker can run a version, as far as that is known without asking Redis. */
  isKnownToRun(spec: ArtifactSpec): boolean {
    const age = performance.now() - this.#readAt;
    if (age >= STALE_MS) return false;
    if (age >= FRESH_MS) this.#read().catch(() => undefined); // the one who waits for the next list hears of it
    return obstacleAmong(this.#list, spec) === null;
  }

  /**
   * Returns the reason why no live worker can run a version; null if one has the runtime and the capacity for one task. The list is
   * read anew before the answer is a reason, because a worker may have just started.
   */
  async obstacleTo(spec: ArtifactSpec): Promise<Obstacle | null> {
    return obstacleAmong(await this.list(), spec) && obstacleAmong(await this.#read(), spec);
  }

  /** Returns the number of tasks that all workers with a runtime can run concurrently. */
  async slotsFor(kind: ArtifactRuntime): Promise<number> {
    return (await this.list())
      .filter((worker) => hasRuntime(worker, kind))
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

function obstacleAmong(workers: readonly WorkerInfo[], spec: ArtifactSpec): Obstacle | null {
  const { runtime, limits } = spec;
  const having = workers.filter((worker) => hasRuntime(worker, runtime));
  if (having.length === 0) return { missing: 'runtime' };
  const withKey = having.filter((worker) => hasKey(worker, spec));
  if (withKey.length === 0) return { missing: 'key' };
  const withInterpreter = withKey.filter((worker) =>
    hasSome(worker, runtime, (status) => hasInterpreter(status, spec)),
  );
  if (withInterpreter.length === 0) return { missing: 'interpreter', there: interpretersOf(withKey) };
  const able = withInterpreter.filter((worker) => hasSome(worker, runtime, (status) => canRunOn(status, spec)));
  if (able.length === 0)
    return { missing: 'network', notes: withInterpreter.flatMap((worker) => notesOf(worker, runtime)) };
  const capacities = able.map(({ capacity }) => capacity);
  if (capacities.some((capacity) => hasRoom(capacity, limits))) return null;
  return {
    missing: 'room',
    cpu: Math.max(...capacities.map(({ cpu }) => cpu)),
    memoryMiB: Math.max(...capacities.map(({ memoryMiB }) => memoryMiB)),
  };
}

/** Lists the interpreters of workers, one of each name. */
function interpretersOf(workers: readonly WorkerInfo[]): InterpreterInfo[] {
  const all = workers.flatMap(({ runtimes }) => runtimes.flatMap(({ interpreters = [] }) => interpreters));
  const byName = new Map(all.map((interpreter) => [interpreter.name, interpreter]));
  return [...byName.values()].toSorted((one, other) => (one.name < other.name ? -1 : 1));
}

function hasRuntime(worker: WorkerInfo, kind: ArtifactRuntime): boolean {
  return hasSome(worker, kind, ({ available }) => available);
}

/** Tells whether a worker that takes tasks has a runtime that is as asked. */
function hasSome(
  { runtimes, draining }: WorkerInfo,
  kind: ArtifactRuntime,
  isSo: (status: RuntimeStatus) => boolean,
): boolean {
  return draining !== true && runtimes.some((status) => status.kind === kind && status.available && isSo(status));
}

/** A worker of an earlier release, which says nothing of keys, would leave the secrets out. */
function hasKey({ secretKeys = [] }: WorkerInfo, { secrets }: ArtifactSpec): boolean {
  return secrets === undefined || Object.keys(secrets).length === 0 || secretKeys.length > 0;
}

const notesOf = ({ workerId, runtimes }: WorkerInfo, kind: ArtifactRuntime) =>
  runtimes.filter((runtime) => runtime.kind === kind).map(({ notes }) => `${workerId}: ${notes.join('; ')}`);

const hasRoom = (capacity: WorkerInfo['capacity'], limits: ArtifactSpec['limits']): boolean =>
  limits.cpu <= capacity.cpu && limits.memoryMiB <= capacity.memoryMiB;
