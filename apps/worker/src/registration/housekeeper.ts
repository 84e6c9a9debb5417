import type { TaskQueues } from '@pilum/core/queue/task-queue.ts';
import type { Redis } from '@pilum/core/redis/connect.ts';
import { HOUSEKEEPER } from '@pilum/core/redis/keys.ts';
import { defineScript } from '@pilum/core/redis/script.ts';
import type { ArtifactStore } from '@pilum/core/store/artifact-store.ts';
import type { BlobStore } from '@pilum/core/store/blob-store.ts';
import type { Logger } from 'pino';

/** Between two rounds over all queues, ms. */
const ROUND_MS = 2000;
/** How long the housekeeper's office lasts without a round, ms: another worker takes over when it dies. */
const OFFICE_MS = 2 * ROUND_MS;
/** Between two collections of code that no artifact uses, ms. */
const COLLECT_INTERVAL_MS = 30_000;

/** Takes or keeps the office. KEYS: office. ARGV: worker id, ms. */
const HOLD_OFFICE = defineScript(`
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`);

/** Leaves the office, if it is still one's own. KEYS: office. ARGV: worker id. */
const LEAVE_OFFICE = defineScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
`);

export interface HousekeeperParts {
  readonly workerId: string;
  readonly redis: Redis;
  readonly queues: TaskQueues;
  readonly artifacts: ArtifactStore;
  readonly blobs: BlobStore;
  /** Code that no artifact uses is deleted after this long, ms. */
  readonly blobGraceMs: number;
  readonly logger: Logger;
}

/**
 * One worker at a time goes round: queues with backlog are announced again (the message that there is work may have
 * been lost), jobs of dead workers are put back in line, and code that no artifact uses is deleted.
 */
export class Housekeeper {
  readonly #parts: HousekeeperParts;
  readonly #stopping = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> = Promise.resolve();
  #collectedAtMs = Date.now();

  constructor(parts: HousekeeperParts) {
    this.#parts = parts;
  }

  open(): void {
    this.#schedule(0);
  }

  /** Finishes the round it is in and leaves the office to another. May be awaited twice. */
  async close(): Promise<void> {
    this.#stopping.abort();
    clearTimeout(this.#timer);
    await this.#round;
    await LEAVE_OFFICE.run(this.#parts.redis, [HOUSEKEEPER], [this.#parts.workerId]);
  }

  #schedule(afterMs: number): void {
    if (this.#stopping.signal.aborted) return;
    this.#timer = setTimeout(() => {
      this.#round = this.#goRound()
        .catch((error: unknown) => this.#parts.logger.warn({ err: error }, 'the round over all queues failed'))
        .finally(() => this.#schedule(ROUND_MS));
    }, afterMs);
  }

  async #goRound(): Promise<void> {
    const { redis, workerId, artifacts, blobs, blobGraceMs, logger } = this.#parts;
    if ((await HOLD_OFFICE.run(redis, [HOUSEKEEPER], [workerId, OFFICE_MS])) !== 1) return;
    for await (const page of artifacts.all()) {
      await Promise.all(page.map(({ namespace, artifactId }) => this.#lookAfter(namespace, artifactId)));
      if (this.#stopping.signal.aborted) return;
    }
    if (Date.now() - this.#collectedAtMs > COLLECT_INTERVAL_MS) {
      this.#collectedAtMs = Date.now();
      const collected = await blobs.collect(Date.now() - blobGraceMs);
      if (collected > 0) logger.info({ collected }, 'code that no artifact uses was deleted');
    }
  }

  async #lookAfter(namespace: string, artifactId: string): Promise<void> {
    const queue = this.#parts.queues.of(namespace, artifactId);
    const { waiting, active } = await queue.counts();
    let recovered: string[] = [];
    if (active > 0) recovered = await queue.recoverStalled();
    if (recovered.length > 0) this.#parts.logger.warn({ taskIds: recovered }, 'tasks of a dead worker are run again');
    if (waiting > 0 || recovered.length > 0) await queue.announce();
  }
}
