import type { LogLine, LogSink } from '../runtimes/runtime.ts';

/**
 * The log of one task. Holds at most `limitBytes` of lines: the oldest go first, and the first line then says how much
 * was dropped.
 */
export class TaskLog implements LogSink {
  readonly #limitBytes: number;
  #lines: string[] = [];
  #bytes = 0;
  #droppedLines = 0;
  #droppedBytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  write(line: LogLine): void {
    const { atMs, stream, level, text, fields } = line;
    let encoded = encode(atMs, stream, level, text, fields);
    if (encoded.length > this.#limitBytes) {
      encoded = encode(atMs, stream, level, `${text.slice(0, Math.floor(this.#limitBytes / 8))}… [cut]`, undefined);
    }
    this.#lines.push(encoded);
    this.#bytes += encoded.length + 1;
    if (this.#bytes > this.#limitBytes) this.#dropOldest();
  }

  get isEmpty(): boolean {
    return this.#lines.length === 0;
  }

  /** The log as JSON lines, oldest first. */
  toJsonLines(): string {
    if (this.#droppedLines === 0) return `${this.#lines.join('\n')}\n`;
    const notice = encode(
      Date.now(),
      'log',
      'warn',
      `[pilum] ${this.#droppedLines} earlier lines (${this.#droppedBytes} bytes) were dropped`,
      undefined,
    );
    return `${notice}\n${this.#lines.join('\n')}\n`;
  }

  #dropOldest(): void {
    let drop = 0;
    // Down to three quarters, so that a flood does not shift the array for every line.
    while (drop < this.#lines.length - 1 && this.#bytes > this.#limitBytes * 0.75) {
      const length = (this.#lines[drop]?.length ?? 0) + 1;
      this.#bytes -= length;
      this.#droppedBytes += length;
      drop++;
    }
    this.#droppedLines += drop;
    this.#lines = this.#lines.slice(drop);
  }
}

function encode(
  atMs: number,
  stream: string,
  level: string,
  text: string,
  fields: Readonly<Record<string, unknown>> | undefined,
): string {
  return JSON.stringify({ at: new Date(atMs).toISOString(), stream, level, text, fields });
}
