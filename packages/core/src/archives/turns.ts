/** Lets so many through at once; the others wait in line. */
export class Turns {
  readonly #line: (() => void)[] = [];
  #free: number;

  constructor(mostAtOnce: number) {
    this.#free = mostAtOnce;
  }

  /** Does it when it has its turn. @param signal gives up waiting @throws what it throws; the signal's reason */
  async take<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    if (this.#free > 0) this.#free--;
    else await this.#waitInLine(signal);
    try {
      return await work();
    } finally {
      const next = this.#line.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }

  #waitInLine(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const giveUp = () => {
        this.#line.splice(this.#line.indexOf(onTurn), 1);
        reject(signal?.reason);
      };
      const onTurn = () => {
        signal?.removeEventListener('abort', giveUp);
        resolve();
      };
      this.#line.push(onTurn);
      signal?.addEventListener('abort', giveUp, { once: true });
    });
  }
}
