import { StringDecoder } from 'node:string_decoder';

/** A longer line is cut, with a mark. In UTF-16 units. */
export const MAX_LINE = 16 * 1024;
const CUT_MARK = '… [cut]';

/** Makes lines of a stream of bytes, in bounded memory. Whoever feeds it bounds what many short lines cost. */
export class LineSplitter {
  readonly #decoder = new StringDecoder('utf8');
  readonly #onLine: (line: string) => void;
  #partial = '';
  /** The rest of a line that was cut is dropped. */
  #skipping = false;

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  /** Returns how many lines the chunk made. */
  push(chunk: Buffer): number {
    const text = this.#decoder.write(chunk);
    let from = 0;
    let lines = 0;
    for (;;) {
      const end = text.indexOf('\n', from);
      if (end < 0) break;
      this.#complete(text.slice(from, end));
      lines++;
      from = end + 1;
    }
    this.#keep(text.slice(from));
    return lines;
  }

  /** The end of the output, or of what belongs together: what has no newline is a line as well. */
  flush(): void {
    this.#keep(this.#decoder.end());
    if (this.#partial !== '') this.#onLine(this.#partial);
    this.#partial = '';
    this.#skipping = false;
  }

  #complete(tail: string): void {
    this.#keep(tail);
    if (!this.#skipping) this.#onLine(this.#partial.endsWith('\r') ? this.#partial.slice(0, -1) : this.#partial);
    this.#partial = '';
    this.#skipping = false;
  }

  #keep(tail: string): void {
    if (this.#skipping || tail === '') return;
    this.#partial += tail;
    if (this.#partial.length <= MAX_LINE) return;
    this.#onLine(this.#partial.slice(0, MAX_LINE) + CUT_MARK);
    this.#partial = '';
    this.#skipping = true;
  }
}
