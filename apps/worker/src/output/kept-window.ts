/** In how many steps a window is followed at most: what has left it is let go in pieces of this part of it. */
const STEPS = 64;

interface Mark {
  /** Number of a frame, */
  readonly last: number;
  /** and bytes of all frames up to it. */
  readonly bytes: number;
}

/** The part of a task's frames that is within the window that readers are promised: the newest, by bytes and by number. */
export class FrameWindow {
  readonly #limit: Mark;
  #marks: Mark[] = [{ last: 0, bytes: 0 }];

  constructor(limit: { readonly frames: number; readonly bytes: number }) {
    this.#limit = { last: limit.frames, bytes: limit.bytes };
  }

  /** There are frames up to this one; @returns below which number they may go, 0 for none */
  add(end: Mark): number {
    const newest = this.#marks.at(-1);
    if (newest === undefined || this.#isFar(newest, end, 1 / STEPS)) this.#marks.push(end);
    let trimBelow = 0;
    while (this.#marks.length > 1 && this.#marks[0] !== undefined && this.#isFar(this.#marks[0], end, 1)) {
      trimBelow = this.#marks[0].last + 1;
      this.#marks.shift();
    }
    // What ends with the mark itself is out of the window; 1 is where numbers begin.
    return trimBelow > 1 ? trimBelow : 0;
  }

  #isFar(from: Mark, to: Mark, part: number): boolean {
    return to.bytes - from.bytes > this.#limit.bytes * part || to.last - from.last > this.#limit.last * part;
  }
}

/** The part of a task's log that is kept: the newest batches of lines, by bytes, and one at least. */
export class LogWindow {
  readonly #limitBytes: number;
  #sizes: number[] = [];
  #bytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** There is one batch more, of so many bytes; @returns how many of the oldest go */
  add(size: number): number {
    this.#sizes.push(size);
    this.#bytes += size;
    let drop = 0;
    while (drop < this.#sizes.length - 1 && this.#bytes > this.#limitBytes) this.#bytes -= this.#sizes[drop++] ?? 0;
    this.#sizes.splice(0, drop);
    return drop;
  }
}
