import type { PilumError } from '@pilum/core/errors/pilum-error.ts';

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 60_000;

/** Pause after the n-th start that failed in a row (1, 2, 3 …), ms. */
export function pauseAfter(failures: number): number {
  return Math.min(FIRST_PAUSE_MS * 2 ** (failures - 1), LONGEST_PAUSE_MS);
}

/** Keeps a version that cannot start from being started again and again: until its pause is over, the error stands. */
export class StartBackoff {
  #failures = 0;
  #error: PilumError | null = null;
  #untilMs = 0;

  /** The error of the last start while its pause lasts, or null where a start may be tried. */
  standingError(nowMs: number): PilumError | null {
    return nowMs < this.#untilMs ? this.#error : null;
  }

  /** The end of the pause, ms since 1970; 0 where there was none. */
  get pausedUntilMs(): number {
    return this.#untilMs;
  }

  failed(error: PilumError, nowMs: number): void {
    this.#failures++;
    this.#error = error;
    this.#untilMs = nowMs + pauseAfter(this.#failures);
  }

  succeeded(): void {
    this.#failures = 0;
    this.#untilMs = 0;
    this.#error = null;
  }
}
