import type { TaskQueues } from '@pilum/core/queue/task-queues.ts';
import { qualifiedId } from '@pilum/core/redis/keys.ts';
import type { ArtifactStore } from '@pilum/core/store/artifact-store.ts';
import type { KeptStore } from '@pilum/core/store/kept-store.ts';
import type { TaskStore } from '@pilum/core/store/task-store.ts';
import type { WorkerRegistry } from '@pilum/core/store/worker-registry.ts';
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { showEventLoopLag } from './event-loop-lag.ts';
import type { StatsHolder } from './stats-holder.ts';

export interface MetricsDeps {
  readonly artifacts: ArtifactStore;
  readonly tasks: TaskStore;
  readonly queues: TaskQueues;
  readonly registry: WorkerRegistry;
  readonly kept: KeptStore;
  readonly holder: StatsHolder;
  /** Returns the number of open streams of this process. */
  readonly openStreams: () => number;
  /** Counts of the unfinished request bodies of this process. */
  readonly unfinished: { readonly count: number; readonly heldBytes: number; readonly givenUp: number };
}

/** Metrics of prom-client to leave out: gauges named like counters, whose values exist by type, and those that Pilum measures itself. */
const LEFT_OUT = /^nodejs_(?:active_(?:handles|requests|resources)_total|eventloop_lag_.*)$/;
/** Interval for prom-client's own measurement of the event loop, ms, so long that it never wakes the process. */
const NEVER_MS = 2 ** 30;

/** Age up to which a page is used, ms, so that several scrapers cost no more than one. */
const FRESH_MS = 2000;

/** Artifacts whose figures are shown. Where there are more, those are that are active, and were last: what a page costs stays bounded. */
const MOST_SHOWN = 2000;

const LABELS = ['namespace', 'artifact'] as const;

/**
 * Serves metrics of all artifacts, read from Redis on demand, and of this process. Only one of the scraped API processes shows those of
 * artifacts ({@link StatsHolder}), so that a sum over all processes counts each task once.
 */
export class Metrics {
  readonly contentType = Registry.PROMETHEUS_CONTENT_TYPE;
  readonly #deps: MetricsDeps;
  /** Metrics of this process. */
  readonly #process = new Registry();
  #page: { readonly text: Promise<string>; readonly readAt: number } | null = null;

  constructor(deps: MetricsDeps) {
    this.#deps = deps;
  }

  /** Starts to measure this process. */
  open(): void {
    collectDefaultMetrics({ register: this.#process, eventLoopMonitoringPrecision: NEVER_MS });
    for (const { name } of this.#process.getMetricsAsArray()) {
      if (LEFT_OUT.test(name)) this.#process.removeSingleMetric(name);
    }
    showEventLoopLag(this.#process);
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

  /** Stops, and leaves the metrics of artifacts to another process. May be called twice. */
  async close(): Promise<void> {
    await this.#deps.holder.leave();
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
    const { artifacts, tasks, queues, registry, kept, holder } = this.#deps;
    if (!(await holder.hold())) {
      return `# The figures of artifacts and workers are on the page of another API process: each is shown once, so that sums are right.\n${await this.#process.metrics()}`;
    }
    const page = new Registry();
    const stats = statsIn(page);
    const [instances, workers] = await Promise.all([registry.instances(), registry.workers()]);
    const active = new Map<string, number>();
    for (const instance of instances) {
      if (instance.state === 'terminated' || instance.state === 'failed') continue;
      const id = qualifiedId(instance);
      active.set(id, (active.get(id) ?? 0) + 1);
    }
    stats.workers.set(workers.length);
    stats.artifacts.set(await artifacts.count());
    for (const { workerId, clockSkewMs } of workers) {
      stats.clockSkew.set({ worker: workerId }, (clockSkewMs ?? 0) / 1000);
    }
    for await (const all of artifacts.latest(MOST_SHOWN)) {
      const ids = await artifacts.callable(all);
      const keptBytes = await kept.bytes(ids);
      await Promise.all(
        ids.map(async (artifact, index) => {
          const [{ settled, averageRunMs }, { waiting, delayed }] = await Promise.all([
            tasks.stats(artifact),
            queues.of(artifact).counts(),
          ]);
          const labels = { namespace: artifact.namespace, artifact: artifact.artifactId };
          const { completed, failed, timeout, cancelled } = settled;
          stats.total.inc(labels, completed + failed + timeout + cancelled);
          stats.successful.inc(labels, completed);
          stats.failed.inc(labels, failed + timeout);
          if (averageRunMs !== null) stats.averageRun.set(labels, averageRunMs / 1000);
          stats.instances.set(labels, active.get(qualifiedId(artifact)) ?? 0);
          stats.queueLength.set(labels, waiting - delayed);
          stats.delayed.set(labels, delayed);
          stats.keptBytes.set(labels, keptBytes[index] ?? 0);
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
      help: 'Tasks that wait in the queue and could be begun.',
      labelNames,
      registers,
    }),
    delayed: new Gauge({
      name: 'pilum_queue_delayed',
      help: 'Tasks that are not due yet: delayed ones, and those between two attempts.',
      labelNames,
      registers,
    }),
    keptBytes: new Gauge({
      name: 'pilum_kept_bytes',
      help: 'What finished tasks hold in Redis: results, logs, frames, payloads kept for a retry.',
      labelNames,
      registers,
    }),
    clockSkew: new Gauge({
      name: 'pilum_worker_clock_skew_seconds',
      help: "How far the clock of a worker's machine is ahead of that of Redis.",
      labelNames: ['worker'],
      registers,
    }),
    artifacts: new Gauge({
      name: 'pilum_artifacts',
      help: 'Artifacts that are deployed. Figures are shown of all of them up to 2000, else of those that are active and that were active last.',
      registers,
    }),
    workers: new Gauge({ name: 'pilum_workers_live', help: 'Workers that live.', registers }),
  };
}
