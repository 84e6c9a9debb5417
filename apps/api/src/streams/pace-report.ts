import type { OutputStore } from '@pilum/core/store/output-store.ts';

/** Bytes that a reader takes between two reports: a quarter of what a function may be ahead. */
const REPORT_BYTES = 128 * 1024;
/** How often a reader says that it is there while it is behind, ms. */
const REPORT_INTERVAL_MS = 2000;

interface Reader {
  readonly producedBytes: number;
  readonly sender: string | null;
}

/** Tells the worker of a task how far the reader is that may hold it back. */
export class PaceReport {
  readonly #outputs: OutputStore;
  readonly #task: { readonly namespace: string; readonly taskId: string };
  readonly #readerId: string;
  readonly #reader: Reader;
  readonly #timer: NodeJS.Timeout;
  #takenBytes = 0;
  #reportedBytes = 0;

  constructor(
    outputs: OutputStore,
    task: { readonly namespace: string; readonly taskId: string },
    readerId: string,
    reader: Reader,
  ) {
    this.#outputs = outputs;
    this.#task = { namespace: task.namespace, taskId: task.taskId };
    this.#readerId = readerId;
    this.#reader = reader;
    this.#timer = setInterval(() => this.#beat(), REPORT_INTERVAL_MS);
  }

  /** The reader has taken everything up to here, bytes from the first frame of the task. */
  taken(bytes: number): void {
    this.#takenBytes = bytes;
    if (bytes - this.#reportedBytes >= REPORT_BYTES) this.#tell();
  }

  /** The reader is gone. */
  close(): void {
    clearInterval(this.#timer);
    this.#tell(true);
  }

  /** Where little was given so far the worker is not waiting for anyone. */
  #beat(): void {
    if (this.#reader.producedBytes > REPORT_BYTES) this.#tell();
  }

  #tell(isGone = false): void {
    const { sender } = this.#reader;
    if (sender === null) return;
    this.#reportedBytes = this.#takenBytes;
    const pace = { ...this.#task, readerId: this.#readerId, bytes: this.#takenBytes };
    this.#outputs.tellPace(sender, isGone ? { ...pace, gone: true } : pace).catch(() => undefined); // said again, or silence says it
  }
}
