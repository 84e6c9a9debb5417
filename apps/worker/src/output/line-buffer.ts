import type { LogEntry } from '@pilum/core/schemas/log.ts';
import type { LogLine } from '../runtimes/contract/runtime.ts';

/** Lines that follow each other, as JSON lines; the first has the number `after` + 1. */
export interface TakenLines {
  readonly after: number;
  readonly last: number;
  readonly text: string;
}

/**
 * The lines of one task's log that Redis does not have yet. Each has a number; where there are more bytes than may be
 * kept, the oldest go, and their numbers are missing from then on.
 */
export class LineBuffer {
  readonly #limitBytes: number;
  #lines: string[] = [];
  #bytes = 0;
  /** Number of the last line that came. */
  #last: number;

  /**
   * @param limitBytes what is held at most
   * @param last number of the last line before these
   */
  constructor(limitBytes: number, last: number) {
    this.#limitBytes = limitBytes;
    this.#last = last;
  }

  get isEmpty(): boolean {
    return this.#lines.length === 0;
  }

  /** Bytes, about. */
  get size(): number {
    return this.#bytes;
  }

  push(line: LogLine, attempt: number): void {
    let encoded = encode(line, attempt);
    if (encoded.length > this.#limitBytes) {
      const text = `${line.text.slice(0, Math.floor(this.#limitBytes / 8))}… [cut]`;
      encoded = encode({ ...line, text, fields: undefined }, attempt);
    }
    this.#lines.push(encoded);
    this.#last++;
    this.#bytes += encoded.length + 1;
    if (this.#bytes > this.#limitBytes) this.#dropOldest();
  }

  /** Everything that is there, which is then Redis's; null where there is nothing. */
  takeAll(): TakenLines | null {
    const lines = this.#lines;
    if (lines.length === 0) return null;
    this.#lines = [];
    this.#bytes = 0;
    return { after: this.#last - lines.length, last: this.#last, text: `${lines.join('\n')}\n` };
  }

  #dropOldest(): void {
    let drop = 0;
    // Down to three quarters, so that a flood does not shift the array for every line.
    while (drop < this.#lines.length - 1 && this.#bytes > this.#limitBytes * 0.75) {
      this.#bytes -= (this.#lines[drop]?.length ?? 0) + 1;
      drop++;
    }
    this.#lines = this.#lines.slice(drop);
  }
}

function encode({ atMs, stream, level, text, fields }: LogLine, attempt: number): string {
  const entry: LogEntry = { at: new Date(atMs).toISOString(), stream, level, text, attempt, fields };
  return JSON.stringify(entry);
}
