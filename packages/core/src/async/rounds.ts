export interface RoundsOptions {
  /** From the end of a round to the next one, ms. */
  readonly everyMs: number;
  /** Hears of a round that failed; the next one follows all the same. */
  readonly onError: (error: unknown) => void;
  /** Whether the wait for the next round keeps the process alive; it does where this is not said. */
  readonly ref?: boolean;
}

/** Rounds of the same work, again and again: one at a time, so that none piles up while what it waits for is away. */
export class Rounds {
  readonly #round: () => Promise<void>;
  readonly #options: RoundsOptions;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | null = null;
  #isOpen = false;
  #isClosed = false;

  /** @param round one round; it may throw */
  constructor(round: () => Promise<void>, options: RoundsOptions) {
    this.#round = round;
    this.#options = options;
  }

  /** Begins; the first round is gone after so many ms, or after the time between two. May be called again; once closed they stay closed. */
  open(firstAfterMs: number = this.#options.everyMs): void {
    if (this.#isOpen || this.#isClosed) return;
    this.#isOpen = true;
    this.#goAfter(firstAfterMs);
  }

  /** Goes a round now; where one is under way, resolves with that, and where they are closed, at once. Never fails. */
  now(): Promise<void> {
    if (!this.#isOpen) return this.#running ?? Promise.resolve();
    clearTimeout(this.#timer);
    this.#running ??= this.#go();
    return this.#running;
  }

  /** Ends them. Resolves when the round that is under way is over; may be awaited twice. */
  async close(): Promise<void> {
    this.#isOpen = false;
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  async #go(): Promise<void> {
    try {
      await this.#round();
    } catch (error) {
      this.#options.onError(error);
    }
    this.#running = null;
    if (this.#isOpen) this.#goAfter(this.#options.everyMs);
  }

  #goAfter(ms: number): void {
    this.#timer = setTimeout(() => void this.now(), ms);
    if (this.#options.ref === false) this.#timer.unref();
  }
}
