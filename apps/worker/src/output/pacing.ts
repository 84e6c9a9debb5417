/** Bytes that a function may be ahead of the reader that holds it back. */
const MOST_AHEAD_BYTES = 1024 * 1024;
/** A reader that holds a function back says so more often than this, ms; else it is taken for gone. */
const SILENCE_MS = 6000;

/**
 * The lead that one streamed task may have over its reader. Where there is no reader at all it waits where it is, unless
 * it was started to go on without one.
 */
export class Pacing {
  readonly #detach: boolean;
  /** The reader that holds it back; null where none does. */
  #readerId: string | null;
  #produced = 0;
  #taken = 0;
  #heardAtMs = performance.now();
  #readers = 1;
  #free: PromiseWithResolvers<void> | null = null;

  /** @param readerId the reader that has started it */
  constructor({ readerId, detach }: { readonly readerId: string; readonly detach: boolean }) {
    this.#readerId = readerId;
    this.#detach = detach;
  }

  /** The task has given so many bytes in all. */
  produced(bytes: number): void {
    this.#produced = bytes;
  }

  /** A reader has taken so many bytes in all, or is gone. Only one counts; where there is none, the first to come. */
  taken({ readerId, bytes, gone }: { readonly readerId: string; readonly bytes: number; readonly gone?: true }): void {
    if (gone === true) {
      if (this.#readerId === readerId) this.#readerId = null;
    } else {
      this.#readerId ??= readerId;
      if (this.#readerId !== readerId) return;
      this.#taken = Math.max(this.#taken, bytes);
      this.#heardAtMs = performance.now();
    }
    this.#look();
  }

  /** So many processes have readers of it. */
  readers(count: number): void {
    this.#readers = count;
    this.#look();
  }

  /** To be called now and then: silence ends a reader's hold. */
  tick(): void {
    // Only one that is behind has anything to say.
    if (this.#isAhead && performance.now() - this.#heardAtMs > SILENCE_MS) this.#readerId = null;
    this.#look();
  }

  /** Null where the function may go on at once; else resolves when it may. */
  whenFree(): Promise<void> | null {
    if (!this.#isHeld) return null;
    if (this.#free === null) {
      // Silence counts from here: before, there was nothing that a reader had to say.
      this.#heardAtMs = performance.now();
      this.#free = Promise.withResolvers();
    }
    return this.#free.promise;
  }

  get #isAhead(): boolean {
    return this.#produced - this.#taken > MOST_AHEAD_BYTES;
  }

  get #isHeld(): boolean {
    if (!this.#isAhead) return false;
    if (this.#readerId !== null) return true;
    return this.#readers === 0 && !this.#detach;
  }

  #look(): void {
    if (this.#free === null || this.#isHeld) return;
    this.#free.resolve();
    this.#free = null;
  }
}
