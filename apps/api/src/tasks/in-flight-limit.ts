import { SystemError } from '@pilum/core/errors/pilum-error.ts';

export interface InFlightLimits {
  readonly calls: number;
  /** All payloads together, bytes. */
  readonly bytes: number;
}

/**
 * How many calls wait for Redis at a time, from the moment they are read until their task is accepted. While Redis
 * answers they are few, for each waits a millisecond; while it is away, all that come are held here for the seconds until it
 * counts as away, and what is held must not outgrow this process.
 */
export class InFlightLimit {
  readonly #limits: InFlightLimits;
  #calls = 0;
  #bytes = 0;

  constructor(limits: InFlightLimits) {
    this.#limits = limits;
  }

  /** Calls that wait now. */
  get calls(): number {
    return this.#calls;
  }

  /**
   * Lets a call in. One alone is let in whatever its size: that has a limit of its own.
   * @returns to be called when it no longer waits; a second time does nothing
   * @throws SystemError `REDIS_UNAVAILABLE` where too much waits already
   */
  enter(payloadBytes: number): () => void {
    const { calls, bytes } = this.#limits;
    if (this.#calls > 0 && (this.#calls >= calls || this.#bytes + payloadBytes > bytes)) {
      throw new SystemError('REDIS_UNAVAILABLE', {
        message: `Redis is slow or away, and ${this.#calls} calls with ${this.#bytes} bytes wait for it here already.`,
        hint: 'Repeat the call in a second; its task was not accepted.',
      });
    }
    this.#calls++;
    this.#bytes += payloadBytes;
    let isInside = true;
    return () => {
      if (!isInside) return;
      isInside = false;
      this.#calls--;
      this.#bytes -= payloadBytes;
    };
  }
}
