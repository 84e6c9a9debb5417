const MEBIBYTE = 1_048_576;
/** The memory that a worker gives to what all its functions have begun to send and not finished, bytes. */
const WORKER_BUDGET_BYTES = 256 * MEBIBYTE;
/** The memory that it gives to them for as long as all of them go on sending, bytes: sixteen results of the largest size, and a quarter more. */
const WORKER_MOST_BYTES = 1280 * MEBIBYTE;
/** A holder that has grown by less than this in so many ms has stopped, as far as others are concerned. */
const STEP_BYTES = 64 * 1024;
const STALLED_MS = 1000;
const LEAST_CAPACITY = 4096;

export interface HoldLimits {
  /** Above this those go that have stopped in the middle, bytes. */
  readonly budgetBytes: number;
  /** Above this those go that have not grown for the longest time, even if all go on, bytes. */
  readonly mostBytes: number;
}

/** The memory that several {@link HeldBytes} share. */
export class HoldBudget {
  readonly #limits: HoldLimits;
  readonly #now: () => number;
  #held = 0;
  /** The one that has not grown by a step for the longest time comes first. */
  readonly #holders = new Map<HeldBytes, { readonly sinceMs: number; readonly length: number }>();

  /** @param now the time, ms, on any clock that only goes forward */
  constructor({ budgetBytes, mostBytes }: HoldLimits, now: () => number = () => performance.now()) {
    this.#limits = { budgetBytes, mostBytes };
    this.#now = now;
  }

  get heldBytes(): number {
    return this.#held;
  }

  /**
   * Counts so many bytes more, or less, for a holder. Where that is too much for all, those are evicted that have stopped in
   * the middle: a holder that sends what it has begun is soon done.
   */
  change(holder: HeldBytes, bytes: number, isEmpty: boolean): void {
    this.#held += bytes;
    if (isEmpty) this.#holders.delete(holder);
    else this.#mark(holder);
    if (bytes <= 0 || this.#held <= this.#limits.budgetBytes) return;
    const stalledBefore = this.#now() - STALLED_MS;
    for (const [first, { sinceMs }] of this.#holders) {
      const most = sinceMs <= stalledBefore ? this.#limits.budgetBytes : this.#limits.mostBytes;
      if (this.#held <= most) return;
      first.evict();
    }
  }

  /** Puts a holder last that has grown by a step since it was put there. */
  #mark(holder: HeldBytes): void {
    const mark = this.#holders.get(holder);
    if (mark !== undefined && holder.length - mark.length < STEP_BYTES) return;
    this.#holders.delete(holder);
    this.#holders.set(holder, { sinceMs: this.#now(), length: holder.length });
  }
}

const OF_THIS_WORKER = new HoldBudget({ budgetBytes: WORKER_BUDGET_BYTES, mostBytes: WORKER_MOST_BYTES });

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
