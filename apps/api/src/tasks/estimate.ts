import type { TaskQueues } from '@pilum/core/queue/task-queues.ts';
import { qualifiedId } from '@pilum/core/redis/keys.ts';
import type { Version } from '@pilum/core/schemas/artifact.ts';
import type { TaskStore } from '@pilum/core/store/task-store.ts';
import type { LiveWorkers } from '../workers/live-workers.ts';

/** Age up to which a measurement is used, ms. */
const FRESH_MS = 1000;
/** Number of artifacts whose measurements are kept. */
const MAX_MEASURES = 2000;

interface Measure {
  readonly averageRunMs: number | null;
  readonly averageQueuedMs: number | null;
  readonly waiting: number;
  readonly slots: number;
}

/** Estimates when a task will be done, from measurements of its artifact. */
export class CompletionEstimate {
  readonly #tasks: TaskStore;
  readonly #queues: TaskQueues;
  readonly #workers: LiveWorkers;
  readonly #measures = new Map<string, { readonly measure: Promise<Measure>; readonly readAt: number }>();

  constructor(tasks: TaskStore, queues: TaskQueues, workers: LiveWorkers) {
    this.#tasks = tasks;
    this.#queues = queues;
    this.#workers = workers;
  }

  /** Estimates the time until a waiting task is done, ms; null before the first measurement. */
  async ofPending(namespace: string, version: Version): Promise<number | null> {
    return estimatePending(await this.#measure(namespace, version));
  }

  /** Estimates the time until a running task is done, ms; null before the first measurement. */
  async ofRunning(namespace: string, version: Version, ranMs: number): Promise<number | null> {
    const { averageRunMs } = await this.#measure(namespace, version);
    return averageRunMs === null ? null : Math.max(0, Math.round(averageRunMs - ranMs));
  }

  /** Estimates the time until the next waiting task starts and its place is free, ms; null before the first measurement. */
  async untilNext(namespace: string, version: Version): Promise<number | null> {
    const { averageRunMs, slots } = await this.#measure(namespace, version);
    return averageRunMs === null ? null : averageRunMs / slots;
  }

  async #measure(namespace: string, version: Version): Promise<Measure> {
    const key = qualifiedId({ namespace, artifactId: version.artifactId });
    const known = this.#measures.get(key);
    if (known !== undefined && Date.now() - known.readAt < FRESH_MS) return await known.measure;
    const measure = this.#read(namespace, version);
    measure.catch(() => this.#measures.delete(key));
    this.#measures.delete(key);
    this.#measures.set(key, { measure, readAt: Date.now() });
    for (const [oldest] of this.#measures) {
      if (this.#measures.size <= MAX_MEASURES) break;
      this.#measures.delete(oldest);
    }
    return await measure;
  }

  async #read(namespace: string, { artifactId, spec }: Version): Promise<Measure> {
    const artifact = { namespace, artifactId };
    const [stats, counts, slots] = await Promise.all([
      this.#tasks.stats(artifact),
      this.#queues.of(artifact).counts(),
      this.#workers.slotsFor(spec.runtime),
    ]);
    return {
      averageRunMs: stats.averageRunMs,
      averageQueuedMs: stats.averageQueuedMs,
      waiting: counts.waiting,
      slots: Math.max(1, slots),
    };
  }
}

/** Adds the average run to the longer of two waits: the recent average, and the time of all slots for the backlog. */
function estimatePending({ averageRunMs, averageQueuedMs, waiting, slots }: Measure): number | null {
  if (averageRunMs === null) return null;
  const backlogMs = (waiting * averageRunMs) / slots;
  return Math.round(Math.max(averageQueuedMs ?? 0, backlogMs) + averageRunMs);
}
