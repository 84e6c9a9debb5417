import { sharedNow } from '@pilum/core/redis/shared-time.ts';

/** Longest wait for a delayed job, ms: what is farther off is announced by the housekeeper when its time comes. */
const LONGEST_MS = 60_000;

/** Tells when the first of a queue's delayed jobs falls due. */
export class DueTimer {
  readonly #onDue: () => void;
  #timer: NodeJS.Timeout | undefined;
  #atMs = Number.POSITIVE_INFINITY;

  constructor(onDue: () => void) {
    this.#onDue = onDue;
  }

  /** One falls due then, ms of the shared time; the earliest counts. */
  expect(atMs: number): void {
    const now = sharedNow();
    if (atMs >= this.#atMs && this.#atMs > now) return;
    clearTimeout(this.#timer);
    this.#atMs = atMs;
    this.#timer = setTimeout(
      () => {
        this.#atMs = Number.POSITIVE_INFINITY;
        this.#onDue();
      },
      Math.min(Math.max(1, atMs - now), LONGEST_MS),
    );
  }

  close(): void {
    clearTimeout(this.#timer);
  }
}
