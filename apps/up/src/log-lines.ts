import { StringDecoder } from 'node:string_decoder';

/** A longer line is cut into pieces of this length, so that a part that never ends its line cannot fill our memory. */
const MAX_LINE = 64 * 1024;

/** Makes whole lines of the pieces that a pipe delivers, also where a piece ends in the middle of a character. */
export class LogLines {
  readonly #decoder = new StringDecoder('utf8');
  readonly #onLine: (line: string) => void;
  #rest = '';

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  write(chunk: Buffer): void {
    const lines = (this.#rest + this.#decoder.write(chunk)).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.#emit(line.endsWith('\r') ? line.slice(0, -1) : line);
    while (this.#rest.length > MAX_LINE) {
      this.#onLine(this.#rest.slice(0, MAX_LINE));
      this.#rest = this.#rest.slice(MAX_LINE);
    }
  }

  /** The last line may have no end. */
  end(): void {
    const line = this.#rest + this.#decoder.end();
    this.#rest = '';
    if (line !== '') this.#emit(line);
  }

  #emit(line: string): void {
    for (let from = 0; from === 0 || from < line.length; from += MAX_LINE) {
      this.#onLine(line.slice(from, from + MAX_LINE));
    }
  }
}
