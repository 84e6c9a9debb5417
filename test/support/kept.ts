import { afterAll } from 'vitest';

type Closeable = { close(): unknown } | { disconnect(): unknown };

/**
 * What the hooks of a file have started. At the end of the file it is closed, the last first, each whatever came of the
 * others: only what really was started, so that a hook that failed half-way is the one error that is told.
 */
export class Kept {
  readonly #closers: (() => unknown)[] = [];
  #isOver = false;

  /** Keeps a thing with a `close` or `disconnect`. One that comes too late is closed at once. */
  add<T extends Closeable>(thing: T): T;
  /** Keeps a thing that ends by a call of its own. */
  add<T>(thing: T, close: (thing: T) => unknown): T;
  add<T>(thing: T, close: (thing: T) => unknown = closeOf): T {
    if (this.#isOver) {
      void (async () => close(thing))().catch(() => undefined);
      throw new Error('The hook went on after its file had ended.');
    }
    this.#closers.push(() => close(thing));
    return thing;
  }

  /** Closes everything. May be awaited again. */
  async close(): Promise<void> {
    this.#isOver = true;
    const errors: unknown[] = [];
    for (const close of this.#closers.splice(0).reverse()) {
      try {
        await close();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length === 1) throw errors[0];
    if (errors.length > 1) throw new AggregateError(errors, 'Several things could not be closed.');
  }
}

/** What is kept for a file, or for the `describe` it is called in. */
export function keep(): Kept {
  const kept = new Kept();
  afterAll(() => kept.close());
  return kept;
}

function closeOf(thing: unknown): unknown {
  const { close, disconnect } = thing as { close?: () => unknown; disconnect?: () => unknown };
  return close === undefined ? disconnect?.call(thing) : close.call(thing);
}
