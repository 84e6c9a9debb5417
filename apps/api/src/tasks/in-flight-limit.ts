import { SystemError } from '@pilum/core/errors/pilum-error.ts';

export interface InFlightLimits {
  readonly calls: number;
  /** Limit of all payloads together, bytes. */
  readonly bytes: number;
}

/**
 * Limits the calls that wait for Redis, from their arrival to the acceptance of their tasks. A call usually waits a millisecond. If
 * Redis falls silent, calls pile up for the seconds until it counts as away, and must not exhaust the memory of this process.
 */
export class InFlightLimit {
  readonly #limits: InFlightLimits;
  #calls = 0;
  #bytes = 0;

  constructor(limits: InFlightLimits) {
    this.#limits = limits;
  }

  /** Number of calls that wait now. */
  get calls(): number {
    return this.#calls;
  }

  /**
   * Counts a call. A single call is always let in, because payloads have a limit of their own.
   * @returns the function that ends the count; further calls of it have no effect
   * @throws SystemError `REDIS_UNAVAILABLE` if the limit is reached
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
