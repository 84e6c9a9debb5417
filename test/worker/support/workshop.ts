// @needs bubblewrap
import { createHash } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readConfiguration } from '@pilum/core/config/read-configuration.ts';
import { TaskQueues } from '@pilum/core/queue/task-queues.ts';
import { connect, type Redis } from '@pilum/core/redis/connect.ts';
import { ArtifactSpec } from '@pilum/core/schemas/artifact-spec.ts';
import { convert } from '@pilum/core/schemas/check.ts';
import type { Outcome, Ticket } from '@pilum/core/schemas/task.ts';
import { KeySource } from '@pilum/core/secrets/key-source.ts';
import { ArtifactStore } from '@pilum/core/store/artifact-store.ts';
import { BlobStore } from '@pilum/core/store/blob-store.ts';
import { TaskStore } from '@pilum/core/store/task-store.ts';
import { pino } from 'pino';
import type { Runtime } from '../../../apps/worker/src/runtimes/contract/runtime.ts';
import { createRuntimes } from '../../../apps/worker/src/runtimes/registry.ts';
import { Worker } from '../../../apps/worker/src/worker.ts';
import { startRedis, type TestRedis } from '../../support/redis.ts';
import { accept, ticketFor } from '../../support/tasks.ts';
import { waitFor } from '../../support/wait-for.ts';

/** Workers in this process on a Redis of their own; the test stands for the API. */
export class Workshop {
  readonly server: TestRedis;
  readonly redis: Redis;
  readonly queues: TaskQueues;
  readonly tasks: TaskStore;
  readonly artifacts: ArtifactStore;
  readonly #directory: string;
  readonly #open = new Map<string, { worker: Worker; redis: Redis }>();

  private constructor(server: TestRedis, directory: string) {
    this.server = server;
    this.#directory = directory;
    this.redis = connect({ url: server.url, name: 'test' }, () => undefined);
    this.queues = new TaskQueues(this.redis);
    this.tasks = new TaskStore(this.redis, { ageS: 100, count: 1000, framesAgeS: 100 });
    this.artifacts = new ArtifactStore(this.redis);
  }

  static async open(): Promise<Workshop> {
    const directory = await mkdtemp(join(tmpdir(), 'w-'));
    // Passable, so that sandboxes of a root worker find their code in it and nothing is left elsewhere.
    await chmod(directory, 0o711);
    return new Workshop(await startRedis(), directory);
  }

  /** @param adapt does what it likes to the runtimes before the worker has them */
  async startWorker(
    workerId: string,
    env: Record<string, string> = {},
    adapt: (runtimes: Runtime[]) => void = () => undefined,
  ): Promise<Worker> {
    const configuration = readConfiguration({
      PILUM_REDIS_URL: this.server.url,
      PILUM_DATA: join(this.#directory, workerId),
      PILUM_WORKER_ID: workerId,
      ...env,
    });
    const logger = pino({ level: 'silent' });
    const redis = connect({ url: this.server.url, name: workerId }, () => undefined);
    const subscriberRedis = connect({ url: this.server.url, name: `${workerId}-messages` }, () => undefined);
    const made = await createRuntimes(configuration, logger, process.env);
    adapt(made.runtimes);
    const worker = new Worker({
      configuration,
      release: 'test',
      redis,
      subscriberRedis,
      logger,
      secretKeys: KeySource.open({}, () => undefined),
      ...made,
    });
    await worker.open();
    this.#open.set(workerId, { worker, redis });
    return worker;
  }

  async stopWorker(workerId: string, drainMs = 0): Promise<void> {
    const one = this.#open.get(workerId);
    this.#open.delete(workerId);
    await one?.worker.close(drainMs);
    one?.redis.disconnect();
  }

  /** Deploys JavaScript as the API would; once more for another version. */
  async deploy(
    artifactId: string,
    source: string | Buffer,
    spec: Record<string, unknown> = {},
    fileName = 'index.mjs',
  ): Promise<void> {
    const bytes = Buffer.from(source as string);
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    const blobs = new BlobStore(this.redis, { blobBytes: 1e6, quotaBytes: 1e7 });
    await blobs.put(
      { namespace: 'default', digest },
      (async function* () {
        yield bytes;
      })(),
    );
    await blobs.refer({ namespace: 'default', digest }, artifactId);
    const resolved = convert(ArtifactSpec, { runtime: 'process', protocol: 'handler', language: 'node', ...spec });
    const { version } = await this.artifacts.addVersion(
      { namespace: 'default', artifactId },
      {
        contentHash: digest,
        spec: resolved as never,
        code: { digest, format: 'file', sizeBytes: bytes.length, fileName },
      },
    );
    await this.artifacts.changeState({ namespace: 'default', artifactId }, version, 'ready');
  }

  async run(artifactId: string, event: unknown, changes: Partial<Ticket> = {}): Promise<Ticket> {
    const ticket = ticketFor(artifactId, { payload: { encoding: 'utf8', data: JSON.stringify(event) }, ...changes });
    await accept(this.queues.of({ namespace: 'default', artifactId }), ticket);
    return ticket;
  }

  async settled(ticket: Ticket): Promise<Outcome> {
    return await waitFor(() => this.tasks.outcome({ namespace: 'default', taskId: ticket.taskId }), {
      what: `the outcome of ${ticket.taskId}`,
      everyMs: 5,
    });
  }

  async close(): Promise<void> {
    await Promise.all([...this.#open.keys()].map((workerId) => this.stopWorker(workerId)));
    await this.queues.close();
    this.redis.disconnect();
    await this.server.close();
    await rm(this.#directory, { recursive: true, force: true });
  }
}
