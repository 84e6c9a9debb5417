import { setTimeout as sleep } from 'node:timers/promises';
import type { HeldJob } from '@pilum/core/queue/held-job.ts';
import { TaskQueues } from '@pilum/core/queue/task-queues.ts';
import { connect, type Redis } from '@pilum/core/redis/connect.ts';
import type { Outcome, Ticket } from '@pilum/core/schemas/task.ts';
import type { InstanceInfo, WorkerInfo } from '@pilum/core/schemas/worker.ts';
import { INLINE_LIMIT_BYTES, TaskStore } from '@pilum/core/store/task-store.ts';
import { WorkerRegistry } from '@pilum/core/store/worker-registry.ts';
import { end, outcomeFor } from '../../support/tasks.ts';

/** What a task came to: bytes of a content type, or an outcome of its own. */
export type Ending = { readonly contentType: string; readonly body: Buffer | string } | Partial<Outcome>;

/** Stands for a worker: the same queue, scripts and registry, and the test decides what comes out. */
export class TestWorker {
  readonly redis: Redis;
  readonly queues: TaskQueues;
  readonly tasks: TaskStore;
  readonly registry: WorkerRegistry;
  #isServing = true;
  readonly #serving: Promise<void>[] = [];

  constructor(url: string) {
    this.redis = connect({ url, name: 'test-worker' }, () => undefined);
    this.queues = new TaskQueues(this.redis);
    this.tasks = new TaskStore(this.redis, { ageS: 3600, count: 1000, framesAgeS: 3600 });
    this.registry = new WorkerRegistry(this.redis);
  }

  /** Says that it lives. */
  async report(changes: Partial<WorkerInfo> = {}, instances: readonly InstanceInfo[] = []): Promise<void> {
    const now = new Date().toISOString();
    const worker: WorkerInfo = {
      workerId: 'worker-1',
      host: 'here',
      pid: 1,
      release: '0.0.0',
      startedAt: now,
      seenAt: now,
      runtimes: [{ kind: 'process', available: true, isolation: 'sandbox', limits: [], notes: [] }],
      capacity: { tasks: 4, cpu: 4, memoryMiB: 4096 },
      running: 0,
      inUse: { cpu: 0, memoryMiB: 0 },
      attached: 0,
      ...changes,
    };
    await this.registry.report(worker, instances);
  }

  /** Takes the next task of an artifact, or null. */
  async take(artifactId: string, namespace = 'default'): Promise<HeldJob | null> {
    return (await this.queues.of({ namespace, artifactId }).fetch(`token-${artifactId}`, 'worker-1')).job;
  }

  /** Settles a task that was taken and finishes its job. `replyTo: null` loses the reply on its way. */
  async end(held: HeldJob, ending: Ending, replyTo: string | null = held.ticket.replyTo): Promise<Outcome> {
    const { ticket } = held;
    const outcome = outcomeOf(ticket, ending);
    const queue = this.queues.of(ticket);
    await end(queue, this.tasks, { ...held, ticket: { ...ticket, replyTo } }, outcome, besideOf(outcome, ending));
    return outcome;
  }

  /** Runs every task of an artifact with a function of the test, until the worker is closed. */
  serve(
    artifactId: string,
    run: (ticket: Ticket, payload: Buffer | null) => Ending | Promise<Ending>,
    namespace = 'default',
  ): void {
    this.#serving.push(this.#serve(artifactId, run, namespace));
  }

  async close(): Promise<void> {
    this.#isServing = false;
    await Promise.all(this.#serving);
    await this.queues.close();
    this.redis.disconnect();
  }

  async #serve(
    artifactId: string,
    run: (ticket: Ticket, payload: Buffer | null) => Ending | Promise<Ending>,
    namespace: string,
  ): Promise<void> {
    while (this.#isServing) {
      const held = await this.take(artifactId, namespace);
      if (held === null) await sleep(2);
      else await this.end(held, await run(held.ticket, await this.tasks.payload(held.ticket)));
    }
  }
}

function outcomeOf(ticket: Ticket, ending: Ending): Outcome {
  if (!('body' in ending)) return { ...outcomeFor(ticket, { status: ending.status ?? 'completed' }), ...ending };
  const body = Buffer.from(ending.body as string);
  const isBeside = body.length > INLINE_LIMIT_BYTES;
  const encoding = Buffer.from(body.toString('utf8')).equals(body) ? 'utf8' : 'base64';
  return {
    ...outcomeFor(ticket, { status: 'completed' }),
    result: {
      contentType: ending.contentType,
      sizeBytes: body.length,
      ...(isBeside ? { encoding: 'beside' as const } : { encoding, data: body.toString(encoding) }),
    },
  };
}

function besideOf({ result }: Outcome, ending: Ending): { result?: Buffer } {
  if (result?.encoding !== 'beside' || !('body' in ending)) return {};
  return { result: Buffer.from(ending.body as string) };
}

export const json = (value: unknown): Ending => ({ contentType: 'application/json', body: JSON.stringify(value) });
