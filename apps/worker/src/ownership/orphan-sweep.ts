import { Rounds } from '@pilum/core/async/rounds.ts';
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
  readonly #rounds: Rounds;

  constructor(sources: readonly OrphanSource[], logger: Logger) {
    this.#sources = sources;
    this.#logger = logger;
    this.#rounds = new Rounds(() => this.#sweep(), {
      everyMs: SWEEP_INTERVAL_MS,
      onError: (error) => this.#onError(error),
    });
  }

  open(): void {
    this.#rounds.open();
  }

  /** Finishes the look that it is at. May be awaited twice. */
  close(): Promise<void> {
    return this.#rounds.close();
  }

  async #sweep(): Promise<void> {
    for (const source of this.#sources) {
      try {
        await source.removeOrphans();
      } catch (error) {
        this.#onError(error);
      }
    }
  }

  #onError(error: unknown): void {
    logEvent(this.#logger, 'orphans-unseen', { err: error });
  }
}
