import { createReadStream, createWriteStream, type WriteStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { finished } from 'node:stream/promises';
import type { ChaosEvent } from './events.ts';

/** Writes a history, one JSON object a line; what was written is not kept in memory. */
export class History {
  readonly path: string;
  readonly #stream: WriteStream;
  readonly #listeners = new Set<(event: ChaosEvent) => void>();
  #count = 0;

  constructor(path: string) {
    this.path = path;
    this.#stream = createWriteStream(path);
  }

  get count(): number {
    return this.#count;
  }

  write(event: ChaosEvent): void {
    this.#count++;
    this.#stream.write(`${JSON.stringify(event)}\n`);
    for (const listener of this.#listeners) listener(event);
  }

  /** Tells of every event from now on. */
  onEvent(listener: (event: ChaosEvent) => void): void {
    this.#listeners.add(listener);
  }

  /** Resolves when all of it is in the file. May be awaited twice. */
  async close(): Promise<void> {
    this.#stream.end();
    await finished(this.#stream);
  }
}

/** The events of a history, in the order in which they were written. */
export async function readHistory(path: string): Promise<ChaosEvent[]> {
  const events: ChaosEvent[] = [];
  for await (const line of createInterface({ input: createReadStream(path) })) events.push(JSON.parse(line));
  return events;
}
