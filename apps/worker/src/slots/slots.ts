/** Someone who takes slots, and is called when one may be free that it could not get before. */
export interface SlotTaker {
  wake(): void;
}

/**
 * The tasks that a worker may run at once, over all artifacts. Whoever finds none free is put in line, and each free
 * slot goes to the one who has waited longest, so a busy artifact cannot starve a quiet one.
 */
export class Slots {
  readonly capacity: number;
  readonly #waiting = new Set<SlotTaker>();
  #taken = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  get taken(): number {
    return this.#taken;
  }

  /** Takes a slot if one is free and nobody waits longer; else puts the taker in line. */
  tryTake(taker: SlotTaker): boolean {
    const [first] = this.#waiting;
    if (this.#taken >= this.capacity || (first !== undefined && first !== taker)) {
      this.#waiting.add(taker);
      return false;
    }
    this.#waiting.delete(taker);
    this.#taken++;
    return true;
  }

  /** Whether anyone but `taker` is in line. */
  othersWait(taker: SlotTaker): boolean {
    return this.#waiting.size > (this.#waiting.has(taker) ? 1 : 0);
  }

  release(): void {
    this.#taken--;
    this.#wakeFirst();
  }

  /** Leaves the line, as one does who found nothing to run. */
  leave(taker: SlotTaker): void {
    if (this.#waiting.delete(taker) && this.#taken < this.capacity) this.#wakeFirst();
  }

  #wakeFirst(): void {
    const [first] = this.#waiting;
    if (first !== undefined && this.#taken < this.capacity) first.wake();
  }
}
