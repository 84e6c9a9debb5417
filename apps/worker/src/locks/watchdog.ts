/** Interval at which a loop shows that it lives, and at which it is looked at, ms. */
export const LIFE_INTERVAL_MS = 250;
/**
 * After this long without a sign of life, ms, the locks of a main loop are not renewed any more. From its last sign to
 * the moment that its tasks are back in line:
 *
 *     2.5 s until here, which is when they are renewed last at the latest
 *     5 s   until those locks run out (LOCK_DURATION_MS)
 *     2 s   until the stalled check that sees it, one in each round of the housekeeper
 *
 * 9.5 s, which leaves 5.5 of the 15 that a recovery may take. A loop that is busy for 4 s loses
 * nothing, which is what is left of the first lock of a task that the thread has just not heard of yet; of those that it
 * has heard of, nothing in 2.5 + 5 - 1.5 s.
 */
export const SILENT_MS = 2500;
/** After this long, ms, a loop counts as hung: others have had its tasks for a while, and it will not be missed. */
export const HUNG_MS = 20_000;

/** A longer pause between two looks is one of whoever looks, ms: the process was stopped, or the machine slept. */
const LONGEST_PAUSE_MS = 4 * LIFE_INTERVAL_MS;

/** Watches a counter that a loop raises for as long as it turns. Whoever looks has a clock and a loop of its own. */
export class Watchdog {
  #counter: number;
  #changedAtMs: number;
  #lookedAtMs: number;
  #watchedSilenceMs = 0;

  constructor(counter: number, nowMs: number) {
    this.#counter = counter;
    this.#changedAtMs = nowMs;
    this.#lookedAtMs = nowMs;
  }

  /** To be called each {@link LIFE_INTERVAL_MS} with the counter as it is. */
  look(counter: number, nowMs: number): void {
    const pauseMs = nowMs - this.#lookedAtMs;
    this.#lookedAtMs = nowMs;
    if (counter !== this.#counter) {
      this.#counter = counter;
      this.#changedAtMs = nowMs;
      this.#watchedSilenceMs = 0;
    } else {
      this.#watchedSilenceMs += Math.min(pauseMs, LONGEST_PAUSE_MS);
    }
  }

  /** Time that it has shown no life, for whatever reason, ms. */
  get silentMs(): number {
    return this.#lookedAtMs - this.#changedAtMs;
  }

  /** Time that it has shown no life while whoever looks was not stopped as well, ms: then the fault is its own. */
  get watchedSilenceMs(): number {
    return this.#watchedSilenceMs;
  }
}
