import { SystemError } from '@pilum/core/errors/pilum-error.ts';

/** Most streams that one process keeps open. */
const MOST_STREAMS = 10_000;

/** Keeps the open streams of this process, so that a stopping process can end them. */
export class OpenStreams {
  /** The open streams, each with whether its reader can resume elsewhere. */
  readonly #open = new Map<AbortController, boolean>();

  get count(): number {
    return this.#open.size;
  }

  /**
   * Adds a stream.
   * @param canResume whether its reader can resume elsewhere
   * @returns a signal that is aborted to end the stream, and the function to call when it has ended
   * @throws SystemError `TOO_MANY_STREAMS`
   */
  enter(canResume: boolean): { signal: AbortSignal; leave: () => void } {
    if (this.#open.size >= MOST_STREAMS) {
      throw new SystemError('TOO_MANY_STREAMS', { details: { limit: MOST_STREAMS } });
    }
    const controller = new AbortController();
    this.#open.set(controller, canResume);
    return {
      signal: controller.signal,
      leave: () => this.#open.delete(controller),
    };
  }

  /** Ends the streams whose readers can resume at another process. */
  endResumable(): void {
    for (const [controller, canResume] of this.#open) if (canResume) controller.abort();
  }

  endAll(): void {
    for (const controller of this.#open.keys()) controller.abort();
  }
}
