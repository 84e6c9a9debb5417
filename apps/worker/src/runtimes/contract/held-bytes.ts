const MEBIBYTE = 1_048_576;
/** The memory that a worker gives to what all its functions have begun to send and not finished, bytes. */
const WORKER_BUDGET_BYTES = 256 * MEBIBYTE;
const LEAST_CAPACITY = 4096;

/** The memory that several {@link HeldBytes} share. */
export class HoldBudget {
  readonly #limitBytes: number;
  #held = 0;
  /** The one that has not grown for the longest time comes first. */
  readonly #holders = new Set<HeldBytes>();

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get heldBytes(): number {
    return this.#held;
  }

  /**
   * A holder has so many bytes more, or less. Where that is too much for all, those go that have not grown for the longest time:
   * whoever sends what it has begun is soon done, and whoever has stopped in the middle is not waited for.
   */
  change(holder: HeldBytes, bytes: number, isEmpty: boolean): void {
    this.#held += bytes;
    this.#holders.delete(holder);
    if (!isEmpty) this.#holders.add(holder);
    if (bytes <= 0) return;
    for (const first of this.#holders) {
      if (this.#held <= this.#limitBytes) return;
      first.evict();
    }
  }
}

const OF_THIS_WORKER = new HoldBudget(WORKER_BUDGET_BYTES);

/**
 * Bytes of something that comes in pieces, until all of it is there. However small the pieces, no more is held than twice what
 * has come.
 */
export class HeldBytes {
  readonly #budget: HoldBudget;
  readonly #onEvicted: () => void;
  #bytes: Buffer = NOTHING;
  #length = 0;

  /** @param onEvicted is called once the bytes are gone, since the worker has no room for them */
  constructor(onEvicted: () => void, budget: HoldBudget = OF_THIS_WORKER) {
    this.#onEvicted = onEvicted;
    this.#budget = budget;
  }

  get length(): number {
    return this.#length;
  }

  /** The bytes that have come, as long as nothing is added. */
  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  /** @param mostLength what all of it will have at most, where that is known */
  push(piece: Buffer, mostLength = Number.POSITIVE_INFINITY): void {
    const needed = this.#length + piece.length;
    const before = this.#bytes.length;
    if (needed > before) {
      const capacity = Math.max(needed, Math.min(mostLength, Math.max(2 * before, LEAST_CAPACITY)));
      const larger = Buffer.allocUnsafeSlow(capacity);
      this.#bytes.copy(larger, 0, 0, this.#length);
      this.#bytes = larger;
    }
    piece.copy(this.#bytes, this.#length);
    this.#length = needed;
    this.#budget.change(this, this.#bytes.length - before, false);
  }

  /** All of it, which is then the caller's. */
  take(): Buffer {
    const { bytes } = this;
    this.drop();
    return bytes;
  }

  /** Forgets what is there. May be called again. */
  drop(): void {
    const { length } = this.#bytes;
    this.#bytes = NOTHING;
    this.#length = 0;
    if (length > 0) this.#budget.change(this, -length, true);
  }

  /** Gives up the bytes because the budget asks for it; only the budget calls this. */
  evict(): void {
    this.drop();
    this.#onEvicted();
  }
}

const NOTHING = Buffer.alloc(0);
