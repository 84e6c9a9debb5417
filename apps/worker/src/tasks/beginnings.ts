/** A task that has run for so long beside another is not what ended the worker when that one began, ms. */
const QUIET_MS = 10_000;

export interface Beginning {
  /** The task has ended, or is not begun. May be called again. */
  readonly over: () => void;
}

/**
 * Decides when each task begins on this worker. A task under suspicion, one that has run on workers that died, begins alone: nothing
 * else has begun in the time before, nor does in the time after. What runs for longer goes on beside it.
 *
 *     open → (a suspect asks) closed: what has begun lately ends, or grows old → it begins → it ends, or grows old → open
 *
 * A worker is closed for twice that time at most, and then open for as long before the next suspect has its turn.
 */
export class Beginnings {
  readonly #quietMs: number;
  /** Time at which each task that runs has begun. */
  readonly #begunAt = new Map<object, number>();
  #opened: PromiseWithResolvers<void> | null = null;
  /** The next suspect is not let in before. */
  #openUntil = 0;
  #changed = Promise.withResolvers<void>();
  /** Suspects, one after the other. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(quietMs: number = QUIET_MS) {
    this.#quietMs = quietMs;
  }

  /** Null where a task must wait, as a suspect is alone; see {@link begin}. Costs nothing to speak of. */
  tryBegin(): Beginning | null {
    return this.#opened === null ? this.#note() : null;
  }

  /** Begins a task as soon as that may be. @throws the signal's reason */
  async begin(signal: AbortSignal): Promise<Beginning> {
    for (;;) {
      signal.throwIfAborted();
      const begun = this.tryBegin();
      if (begun !== null) return begun;
      await orAborted(this.#opened?.promise ?? Promise.resolve(), signal);
    }
  }

  /**
   * Begins a task under suspicion, alone.
   * @param onLong is called where it still runs when others may begin again
   * @throws the signal's reason
   */
  async beginAlone(signal: AbortSignal, onLong: () => void): Promise<Beginning> {
    const before = this.#turn;
    const turn = Promise.withResolvers<void>();
    // Where one gives up that waits for its turn, whoever is behind it still has those before it to wait for.
    this.#turn = before.then(() => turn.promise);
    let closedAt: number | null = null;
    const open = () => {
      turn.resolve();
      if (closedAt === null) return;
      this.#openUntil = performance.now() + (performance.now() - closedAt);
      closedAt = null;
      this.#opened?.resolve();
      this.#opened = null;
    };
    try {
      await orAborted(before, signal);
      for (let left = this.#openUntil - performance.now(); left > 0; left = this.#openUntil - performance.now()) {
        await orAborted(null, signal, left);
      }
      closedAt = performance.now();
      this.#opened = Promise.withResolvers();
      for (let left = this.#youngMs(); left > 0; left = this.#youngMs()) {
        await orAborted(this.#changed.promise, signal, left);
      }
    } catch (error) {
      open();
      throw error;
    }
    const timer = setTimeout(() => {
      onLong();
      open();
    }, this.#quietMs);
    const beginning = this.#note();
    return {
      over: () => {
        clearTimeout(timer);
        beginning.over();
        open();
      },
    };
  }

  #note(): Beginning {
    const key = {};
    this.#begunAt.set(key, performance.now());
    return {
      over: () => {
        if (!this.#begunAt.delete(key)) return;
        if (this.#opened === null) return;
        this.#changed.resolve();
        this.#changed = Promise.withResolvers();
      },
    };
  }

  /** Time until no task is young, ms. */
  #youngMs(): number {
    const last = Math.max(...this.#begunAt.values(), Number.NEGATIVE_INFINITY);
    return last + this.#quietMs - performance.now();
  }
}

/**
 * Waits for something, for so many ms at most.
 * @throws the signal's reason
 */
async function orAborted(waited: Promise<unknown> | null, signal: AbortSignal, mostMs?: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onAbort = () => reject(signal.reason);
  const timer = mostMs === undefined ? undefined : setTimeout(resolve, mostMs);
  waited?.then(() => resolve());
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}
