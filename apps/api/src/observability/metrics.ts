import type { TaskQueues } from '@pilum/core/queue/task-queues.ts';
import { qualifiedId } from '@pilum/core/redis/keys.ts';
import type { ArtifactStore } from '@pilum/core/store/artifact-store.ts';
import type { TaskStore } from '@pilum/core/store/task-store.ts';
import type { WorkerRegistry } from '@pilum/core/store/worker-registry.ts';
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';

export interface MetricsDeps {
  readonly artifacts: ArtifactStore;
  readonly tasks: TaskStore;
  readonly queues: TaskQueues;
  readonly registry: WorkerRegistry;
  /** How many streams this process has open. */
  readonly openStreams: () => number;
  /** What this process holds of bodies that are not whole. */
  readonly unfinished: { readonly count: number; readonly heldBytes: number; readonly givenUp: number };
}

/** How often the delay of the event loop is looked at, ms. */
const LAG_PRECISION_MS = 100;

/** How long a page is used, ms: several scrapers cost no more than one. */
const FRESH_MS = 2000;

const LABELS = ['namespace', 'artifact'] as const;

/** Stats of all artifacts, read from Redis when they are asked for: every API process shows the same. */
export class Metrics {
  readonly contentType = Registry.PROMETHEUS_CONTENT_TYPE;
  readonly #deps: MetricsDeps;
  /** Stats of this process itself. */
  readonly #process = new Registry();
  #page: { readonly text: Promise<string>; readonly readAt: number } | null = null;

  constructor(deps: MetricsDeps) {
    this.#deps = deps;
  }

  /** Begins to watch this process; once. */
  open(): void {
    // A timer of 10 ms, as it has else, would wake a process that has nothing to do a hundred times a second.
    collectDefaultMetrics({ register: this.#process, eventLoopMonitoringPrecision: LAG_PRECISION_MS });
    const { openStreams, unfinished } = this.#deps;
    new Gauge({
      name: 'pilum_streams_open',
      help: 'Streams that this API process has open.',
      registers: [this.#process],
      collect() {
        this.set(openStreams());
      },
    });
    new Gauge({
      name: 'pilum_unfinished_requests',
      help: 'Requests of this API process whose bodies are not whole yet.',
      registers: [this.#process],
      collect() {
        this.set(unfinished.count);
      },
    });
    new Gauge({
      name: 'pilum_unfinished_bytes',
      help: 'What this API process holds of bodies that are not whole yet.',
      registers: [this.#process],
      collect() {
        this.set(unfinished.heldBytes);
      },
    });
    new Counter({
      name: 'pilum_unfinished_given_up_total',
      help: 'Bodies that this API process has refused or given up, because they came too slowly or there was no room.',
      registers: [this.#process],
      collect() {
        this.reset();
        this.inc(unfinished.givenUp);
      },
    });
  }

  async page(): Promise<string> {
    if (this.#page === null || performance.now() - this.#page.readAt >= FRESH_MS) {
      const text = this.#read();
      text.catch(() => {
        this.#page = null;
      });
      this.#page = { text, readAt: performance.now() };
    }
    return await this.#page.text;
  }

  async #read(): Promise<string> {
    const { artifacts, tasks, queues, registry } = this.#deps;
    const page = new Registry();
    const stats = statsIn(page);
    const [instances, workers] = await Promise.all([registry.instances(), registry.workers()]);
    const active = new Map<string, number>();
    for (const { namespace, artifactId, state } of instances) {
      if (state === 'terminated' || state === 'failed') continue;
      const id = qualifiedId(namespace, artifactId);
      active.set(id, (active.get(id) ?? 0) + 1);
    }
    stats.workers.set(workers.length);
    for await (const ids of artifacts.all()) {
      await Promise.all(
        ids.map(async ({ namespace, artifactId }) => {
          const [{ settled, averageRunMs }, { waiting }] = await Promise.all([
            tasks.stats(namespace, artifactId),
            queues.of(namespace, artifactId).counts(),
          ]);
          const labels = { namespace, artifact: artifactId };
          const { completed, failed, timeout, cancelled } = settled;
          stats.total.inc(labels, completed + failed + timeout + cancelled);
          stats.successful.inc(labels, completed);
          stats.failed.inc(labels, failed + timeout);
          if (averageRunMs !== null) stats.averageRun.set(labels, averageRunMs / 1000);
          stats.instances.set(labels, active.get(qualifiedId(namespace, artifactId)) ?? 0);
          stats.queueLength.set(labels, waiting);
        }),
      );
    }
    return `${await page.metrics()}\n${await this.#process.metrics()}`;
  }
}

function statsIn(registry: Registry) {
  const registers = [registry];
  const labelNames = [...LABELS];
  return {
    total: new Counter({
      name: 'pilum_tasks_total',
      help: 'Tasks that have ended: completed, failed, timed out or cancelled.',
      labelNames,
      registers,
    }),
    successful: new Counter({
      name: 'pilum_tasks_successful_total',
      help: 'Tasks that completed.',
      labelNames,
      registers,
    }),
    failed: new Counter({
      name: 'pilum_tasks_failed_total',
      help: 'Tasks that failed or timed out.',
      labelNames,
      registers,
    }),
    averageRun: new Gauge({
      name: 'pilum_task_run_average_seconds',
      help: 'Running average of the run times of completed tasks.',
      labelNames,
      registers,
    }),
    instances: new Gauge({
      name: 'pilum_instances_active',
      help: 'Instances that are starting, ready or running, on all live workers.',
      labelNames,
      registers,
    }),
    queueLength: new Gauge({
      name: 'pilum_queue_length',
      help: 'Tasks that wait in the queue.',
      labelNames,
      registers,
    }),
    workers: new Gauge({ name: 'pilum_workers_live', help: 'Workers that live.', registers }),
  };
}
