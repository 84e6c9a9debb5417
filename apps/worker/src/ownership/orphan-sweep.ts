import { logEvent } from '@pilum/core/log/log-events.ts';
import type { Logger } from 'pino';

/** Between two looks, ms. */
const SWEEP_INTERVAL_MS = 2000;

/** Something that keeps things on this machine which outlive a worker that is killed. */
export interface OrphanSource {
  /** Removes what dead workers have left; cheap where there is nothing. */
  removeOrphans(): Promise<void>;
}

/**
 * Looks again and again for what dead workers of this machine have left, whoever's they were. All workers do, and any of
 * them may be first; one look at a time.
 */
export class OrphanSweep {
  readonly #sources: readonly OrphanSource[];
  readonly #logger: Logger;
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(sources: readonly OrphanSource[], logger: Logger) {
    this.#sources = sources;
    this.#logger = logger;
  }

  open(): void {
    this.#schedule();
  }

  /** Finishes the look that it is at. May be awaited twice. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#round;
  }

  #schedule(): void {
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => {
      this.#round = this.#sweep().finally(() => this.#schedule());
    }, SWEEP_INTERVAL_MS);
  }

  async #sweep(): Promise<void> {
    for (const source of this.#sources) {
      try {
        await source.removeOrphans();
      } catch (error) {
        logEvent(this.#logger, 'orphans-unseen', { err: error });
      }
    }
  }
}
