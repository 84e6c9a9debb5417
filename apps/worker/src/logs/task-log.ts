import type { LogEntry } from '@pilum/core/schemas/log.ts';
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
    let encoded = encode(line);
    if (encoded.length > this.#limitBytes) {
      const text = `${line.text.slice(0, Math.floor(this.#limitBytes / 8))}… [cut]`;
      encoded = encode({ ...line, text, fields: undefined });
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
    const text = `[pilum] ${this.#droppedLines} earlier lines (${this.#droppedBytes} bytes) were dropped`;
    const notice = encode({ atMs: Date.now(), stream: 'log', level: 'warn', text });
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

function encode({ atMs, stream, level, text, fields }: LogLine): string {
  const entry: LogEntry = { at: new Date(atMs).toISOString(), stream, level, text, fields };
  return JSON.stringify(entry);
}
