import type { TaskRef } from '@pilum/core/schemas/refs.ts';
import type { OutputStore } from '@pilum/core/store/output-store.ts';

/** Bytes between two reports: a quarter of the lead that a function may have over its reader. */
const REPORT_BYTES = 128 * 1024;
/** Interval at which a reader that is behind reports that it still reads, ms. */
const REPORT_INTERVAL_MS = 2000;

interface Reader {
  readonly producedBytes: number;
  readonly sender: string | null;
}

/** Reports the progress of a stream's reader to the worker, which slows the function down for a slow reader. */
export class PaceReport {
  readonly #outputs: OutputStore;
  readonly #task: TaskRef;
  readonly #readerId: string;
  readonly #reader: Reader;
  readonly #timer: NodeJS.Timeout;
  #takenBytes = 0;
  #reportedBytes = 0;

  constructor(outputs: OutputStore, task: TaskRef, readerId: string, reader: Reader) {
    this.#outputs = outputs;
    this.#task = { namespace: task.namespace, taskId: task.taskId };
    this.#readerId = readerId;
    this.#reader = reader;
    this.#timer = setInterval(() => this.#beat(), REPORT_INTERVAL_MS);
  }

  /** Records how far the reader is, in bytes from the first frame of the task. */
  taken(bytes: number): void {
    this.#takenBytes = bytes;
    if (bytes - this.#reportedBytes >= REPORT_BYTES) this.#tell();
  }

  /** Reports that the reader has gone. */
  close(): void {
    clearInterval(this.#timer);
    this.#tell(true);
  }

  /** Reports again that the reader is there, unless the output is so small that the worker cannot be waiting. */
  #beat(): void {
    if (this.#reader.producedBytes > REPORT_BYTES) this.#tell();
  }

  #tell(isGone = false): void {
    const { sender } = this.#reader;
    if (sender === null) return;
    this.#reportedBytes = this.#takenBytes;
    const pace = { ...this.#task, readerId: this.#readerId, bytes: this.#takenBytes };
    this.#outputs.tellPace(sender, isGone ? { ...pace, gone: true } : pace).catch(() => undefined); // the next report repeats it, and a missing one tells the worker enough
  }
}
