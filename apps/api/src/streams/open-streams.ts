import { SystemError } from '@pilum/core/errors/pilum-error.ts';

/** Streams that one process keeps open. */
const MOST_STREAMS = 10_000;

/** The streams that one process has open, so that they can be ended. */
export class OpenStreams {
  /** Of each, whether its reader can come back to where it was. */
  readonly #open = new Map<AbortController, boolean>();

  get count(): number {
    return this.#open.size;
  }

  /**
   * Counts one more.
   * @param canResume its reader can come back to where it was
   * @returns its signal, aborted when it is to end; and what is to be called when it has
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

  /** Ends those whose readers go on elsewhere, from where they are. */
  endResumable(): void {
    for (const [controller, canResume] of this.#open) if (canResume) controller.abort();
  }

  endAll(): void {
    for (const controller of this.#open.keys()) controller.abort();
  }
}
