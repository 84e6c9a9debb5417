import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { FastifyAdapter } from '@bull-board/fastify';
import { ERROR_TABLE, type ErrorCode } from '@pilum/core/errors/error-table.ts';
import { RequestError } from '@pilum/core/errors/pilum-error.ts';
import { priorityOf } from '@pilum/core/queue/bull-format.ts';
import type { TaskQueues } from '@pilum/core/queue/task-queues.ts';
import type { Redis } from '@pilum/core/redis/connect.ts';
import { artifactKeys, parseQualifiedId, QUEUE_NAME, qualifiedId } from '@pilum/core/redis/keys.ts';
import type { ArtifactStore } from '@pilum/core/store/artifact-store.ts';
import { type Job, Queue } from 'bullmq';
import { declareForLibrary } from '../auth/needs.ts';
import { answerError } from '../http/answer-error.ts';
import type { App } from '../http/app-type.ts';

const BULL_BOARD_PATH = '/admin/queues';

export interface BullBoardDeps {
  readonly redis: Redis;
  readonly artifacts: ArtifactStore;
  readonly queues: TaskQueues;
}

const LINK_ELSEWHERE = /<link\b[^>]*\bhref="https?:[^>]*>/g;

/** Age up to which the list of queues is used, ms. */
const FRESH_MS = 2000;

/** Queues that are shown; where there are more, those with work, and those that had some last. */
const MOST_SHOWN = 2000;

/** Serves Bull Board for the queues with jobs: read-only, and without the payloads and headers of callers. */
export class BullBoard {
  readonly #deps: BullBoardDeps;
  readonly #server = new FastifyAdapter();
  readonly #shown = new Map<string, QueueAdapter>();
  readonly #replaceQueues: (queues: QueueAdapter[]) => void;
  #refreshing: Promise<void> | null = null;
  #refreshedAt = Number.NEGATIVE_INFINITY;

  constructor(deps: BullBoardDeps) {
    this.#deps = deps;
    const board = createBullBoard({
      queues: [],
      // The adapter's types come from another copy of the same package.
      serverAdapter: this.#server as unknown as Parameters<typeof createBullBoard>[0]['serverAdapter'],
      options: {
        uiConfig: {
          boardTitle: 'Pilum',
          // Showing workers would read the list of all Redis clients for every queue.
          showWorkers: false,
          hideRedisDetails: true,
        },
      },
    });
    this.#replaceQueues = (queues) => board.replaceQueues(queues);
    this.#server.setBasePath(BULL_BOARD_PATH);
  }

  /** Adds the page and its API to the app. */
  async register(app: App): Promise<void> {
    await app.register(
      async (scope) => {
        scope.addHook('onRequest', async (request) => {
          // The board marks each queue read-only itself; this also holds for routes that its next release adds.
          if (request.method !== 'GET' && request.method !== 'HEAD') {
            throw new RequestError('FORBIDDEN', { message: 'The queue page is read-only.' });
          }
          if (request.url.startsWith(`${BULL_BOARD_PATH}/api/`)) await this.#refresh();
        });
        // The error handler of Bull Board would turn a missing key into a 500.
        scope.addHook('onRoute', (route) => {
          route.errorHandler = answerError;
          // Writes are refused for their method, so their body must not be refused first.
          route.config = { ...route.config, takesBody: { content: {} } };
        });
        declareForLibrary(scope, 'queues:read');
        scope.addHook('onSend', async (_request, reply, payload) => {
          // The page would load fonts from another site.
          reply.header('content-security-policy', "default-src 'self' data: 'unsafe-inline'; frame-ancestors 'none'");
          const isPage = String(reply.getHeader('content-type')).startsWith('text/html');
          return isPage && typeof payload === 'string' ? payload.replaceAll(LINK_ELSEWHERE, '') : payload;
        });
        await scope.register(this.#server.registerPlugin());
      },
      { prefix: BULL_BOARD_PATH },
    );
  }

  async close(): Promise<void> {
    await Promise.all([...this.#shown.values()].map((adapter) => adapter.close()));
    this.#shown.clear();
  }

  async #refresh(): Promise<void> {
    if (performance.now() - this.#refreshedAt < FRESH_MS) return;
    this.#refreshing ??= this.#readQueues().finally(() => {
      this.#refreshing = null;
    });
    await this.#refreshing;
  }

  async #readQueues(): Promise<void> {
    const { artifacts, queues, redis } = this.#deps;
    const inUse = new Set<string>();
    for await (const ids of artifacts.latest(MOST_SHOWN)) {
      await Promise.all(
        ids.map(async (artifact) => {
          if (await queues.of(artifact).isInUse()) inUse.add(qualifiedId(artifact));
        }),
      );
    }
    for (const [id, adapter] of this.#shown) {
      if (inUse.has(id)) continue;
      this.#shown.delete(id);
      await adapter.close();
    }
    for (const id of [...inUse].sort()) {
      if (!this.#shown.has(id)) this.#shown.set(id, new QueueAdapter(redis, id));
    }
    this.#replaceQueues([...inUse].sort().flatMap((id) => this.#shown.get(id) ?? []));
    this.#refreshedAt = performance.now();
  }
}

/** Shows one queue on the board, by the name `<namespace>/<artifactId>`. */
class QueueAdapter extends BullMQAdapter {
  readonly #id: string;
  readonly #queue: Queue;

  constructor(redis: Redis, id: string) {
    const queue = new Queue(QUEUE_NAME, {
      connection: redis,
      prefix: artifactKeys(parseQualifiedId(id)).queuePrefix,
      skipMetasUpdate: true,
      skipVersionCheck: true,
    });
    queue.on('error', () => undefined); // the owner of the connection logs the same error
    super(queue, { readOnlyMode: true, allowRetries: false });
    this.#id = id;
    this.#queue = queue;
    this.setFormatter('data', redactTicket);
    this.setFormatter('returnValue', () => undefined);
  }

  override getName(): string {
    return this.#id;
  }

  override async getJob(id: string): Promise<Job | undefined> {
    const job = await super.getJob(id);
    return job === undefined ? undefined : asCallersKnowIt(job);
  }

  override async getJobs(...args: Parameters<BullMQAdapter['getJobs']>): Promise<Job[]> {
    return (await super.getJobs(...args)).map(asCallersKnowIt);
  }

  async close(): Promise<void> {
    await this.#queue.close();
  }
}

/** Changes a job to show the priority as callers give it, and the message of its error code. */
function asCallersKnowIt(job: Job): Job {
  if (job.priority > 0) job.priority = priorityOf(job.priority);
  const code = job.failedReason;
  if (code !== undefined && Object.hasOwn(ERROR_TABLE, code)) {
    const { message } = ERROR_TABLE[code as ErrorCode];
    job.failedReason = `${code}: ${message} GET /v1/tasks/${job.id} says why.`;
  }
  return job;
}

/** Returns a ticket without the caller's payload and headers. */
function redactTicket(data: unknown): unknown {
  if (typeof data !== 'object' || data === null) return undefined;
  return { ...data, payload: '[redacted]', headers: '[redacted]' };
}
