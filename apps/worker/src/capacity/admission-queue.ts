/** For how long the first in line keeps the others from passing, ms. */
export const HOLD_MS = 10_000;

/**
 * Those who have tasks and found no room for one, in the order in which they came. Nobody passes the first one, or a large
 * task would wait for as long as small ones come and go; but not for longer than {@link HOLD_MS}: it may be waiting for
 * one that runs for an hour, and from then on whoever finds room takes it.
 */
export class AdmissionQueue {
  readonly #waiting = new Set<() => void>();
  #held: (() => void) | null = null;
  #holding: NodeJS.Timeout | undefined;
  #mayPass = false;

  /** Whether this one is to let another go first. */
  isHeldUp(whenRoom: () => void): boolean {
    const [first] = this.#waiting;
    return first !== undefined && first !== whenRoom && !this.#mayPass;
  }

  /** Whether someone other than this one waits. */
  hasOther(whenRoom: () => void): boolean {
    return this.#waiting.size > (this.#waiting.has(whenRoom) ? 1 : 0);
  }

  /** Stands in line, at its end where it did not stand there before. `whenRoom` is called when it may be its turn. */
  join(whenRoom: () => void): void {
    this.#waiting.add(whenRoom);
    this.#holdForFirst();
  }

  /** Leaves the line, with room or without need of it; those behind are told when the caller is done. */
  leave(whenRoom: () => void): void {
    if (!this.#waiting.delete(whenRoom)) return;
    this.#holdForFirst();
    queueMicrotask(() => this.wake());
  }

  /** There may be room. */
  wake(): void {
    for (const whenRoom of [...this.#waiting]) {
      whenRoom();
      if (!this.#mayPass) return;
    }
  }

  #holdForFirst(): void {
    const [first = null] = this.#waiting;
    if (first === this.#held) return;
    this.#held = first;
    this.#mayPass = false;
    clearTimeout(this.#holding);
    if (first === null) return;
    this.#holding = setTimeout(() => {
      this.#mayPass = true;
      this.wake();
    }, HOLD_MS);
    this.#holding.unref();
  }
}
