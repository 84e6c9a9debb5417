/** A stream that is not read while there is no budget. */
export interface Pausable {
  pause(): unknown;
  resume(): unknown;
}

/**
 * The bytes that an instance may print at once, and per second for ever. Beyond them the instance waits; nobody else does.
 */
const BURST_BYTES = 1024 * 1024;
const BYTES_PER_SECOND = 2 * 1024 * 1024;

/**
 * Bounds what reading one instance costs the worker, whatever it sends and however: once the budget is used up, its streams
 * are not read until there is budget again, so the pipes fill and the function's own writes block.
 */
export class Throttle {
  readonly #streams = new Set<Pausable>();
  #budget = BURST_BYTES;
  #refilledAtMs = performance.now();
  #timer: NodeJS.Timeout | null = null;
  #lifted = false;

  add(stream: Pausable): void {
    this.#streams.add(stream);
    if (this.#timer !== null) stream.pause();
  }

  /** Forgets a stream that is over. */
  remove(stream: Pausable): void {
    this.#streams.delete(stream);
  }

  /** Takes `cost` from the budget and pauses the streams where nothing is left. */
  spend(cost: number): void {
    if (this.#lifted) return;
    this.#budget -= cost;
    if (this.#budget >= 0 || this.#timer !== null) return;
    // The budget that has come back since is looked at now and not each time: every frame of every call is charged.
    const nowMs = performance.now();
    this.#budget = Math.min(BURST_BYTES, this.#budget + ((nowMs - this.#refilledAtMs) * BYTES_PER_SECOND) / 1000);
    this.#refilledAtMs = nowMs;
    if (this.#budget >= 0) return;
    for (const stream of this.#streams) stream.pause();
    // A little more than what is missing, so that a flood wakes the worker a few times a second and no more.
    const waitMs = (-this.#budget / BYTES_PER_SECOND) * 1000 + 50;
    this.#timer = setTimeout(() => this.#resume(), waitMs);
  }

  /** No more waiting: the process has ended, and what is left in its pipes is bounded by their size. */
  lift(): void {
    this.#lifted = true;
    this.#resume();
  }

  #resume(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    for (const stream of this.#streams) stream.resume();
  }
}

/** Holds one stream for several reasons: it is read when there is none of them. */
export class Gate {
  readonly #stream: Pausable;
  readonly #closed = new Set<Pausable>();

  constructor(stream: Pausable) {
    this.#stream = stream;
  }

  /** Makes one more reason that may hold the stream. */
  reason(): Pausable {
    const reason: Pausable = {
      pause: () => {
        this.#closed.add(reason);
        this.#stream.pause();
      },
      resume: () => {
        if (this.#closed.delete(reason) && this.#closed.size === 0) this.#stream.resume();
      },
    };
    return reason;
  }
}
