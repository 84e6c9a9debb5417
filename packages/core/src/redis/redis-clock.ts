import type { Redis } from 'ioredis';
import { clockSkewMs, setSharedTime } from './shared-time.ts';

/** Interval at which Redis is asked for its time, ms: two good clocks part by less than a ms meanwhile. */
const INTERVAL_MS = 10_000;
/** A measurement that took longer says too little, ms: it is thrown away, and made again soon. */
const MAX_ROUND_TRIP_MS = 250;
/** A machine's clock that is off by so much is worth a word, ms; and by so much more or less, another. */
const SKEW_MS = 1000;
/** Pause after a measurement that came to nothing, ms. */
const RETRY_MS = 1000;

/**
 * Tells the time of Redis's clock without asking: its distance from this process's own clock is measured at each connect and every
 * ten seconds, and with it the time that all processes share ({@link sharedNow}). Our side is the monotonic clock, so that a wall
 * clock that is set moves nothing.
 */
export class RedisClock {
  readonly #redis: Redis;
  readonly #onError: (error: unknown) => void;
  readonly #onReady = () => this.#measureNow();
  /** Redis's time minus ours, ms; null until it was measured. */
  #offsetMs: number | null = null;
  readonly #onSkew: (skewMs: number) => void;
  readonly #measured = Promise.withResolvers<void>();
  #saidSkewMs = 0;
  #isOpen = false;
  #isMeasuring = false;
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param redis stays its owner's to close
   * @param onError is told of a measurement that failed; another follows
   * @param onSkew is told by how much this machine's clock is ahead, ms, where that is worth a word, and where it is no longer
   */
  constructor(redis: Redis, onError: (error: unknown) => void, onSkew: (skewMs: number) => void = () => undefined) {
    this.#onSkew = onSkew;
    this.#redis = redis;
    this.#onError = onError;
  }

  /** Begins to measure. */
  open(): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    this.#redis.on('ready', this.#onReady);
    this.#measureNow();
  }

  /**
   * Redis's time, ms since 1970; null until it was measured once. It is never ahead, and behind by no more than
   * {@link MAX_ROUND_TRIP_MS}. Kept while Redis is away: a clock goes on when no one can look at it.
   */
  now(): number | null {
    return this.#offsetMs === null ? null : performance.now() + this.#offsetMs;
  }

  /** Resolves when the time was measured once. */
  get measured(): Promise<void> {
    return this.#measured.promise;
  }

  #saySkew(skewMs: number): void {
    const isOff = Math.abs(skewMs) >= SKEW_MS;
    if (!isOff && this.#saidSkewMs === 0) return;
    if (isOff && Math.abs(skewMs - this.#saidSkewMs) < SKEW_MS) return;
    this.#saidSkewMs = isOff ? skewMs : 0;
    this.#onSkew(this.#saidSkewMs);
  }

  /** Ends it. A measurement under way is let go of, and its answer ignored. */
  close(): void {
    this.#isOpen = false;
    this.#redis.off('ready', this.#onReady);
    clearTimeout(this.#timer);
  }

  #measureNow(): void {
    // While there is no connection nothing can be measured; the next `ready` begins again.
    if (!this.#isOpen || this.#isMeasuring || this.#redis.status !== 'ready') return;
    clearTimeout(this.#timer);
    this.#isMeasuring = true;
    void this.#measure().then((isGood) => {
      this.#isMeasuring = false;
      if (!this.#isOpen) return;
      this.#timer = setTimeout(() => this.#measureNow(), isGood ? INTERVAL_MS : RETRY_MS);
      this.#timer.unref();
    });
  }

  /** @returns whether it came to something */
  async #measure(): Promise<boolean> {
    const sentAt = performance.now();
    try {
      const [seconds, microseconds] = await this.#redis.time();
      const receivedAt = performance.now();
      if (!this.#isOpen) return false;
      const redisMs = Number(seconds) * 1000 + Number(microseconds) / 1000;
      const roundTripMs = receivedAt - sentAt;
      const isGood = roundTripMs <= MAX_ROUND_TRIP_MS;
      setSharedTime(redisMs, receivedAt, roundTripMs);
      this.#saySkew(clockSkewMs() ?? 0);
      this.#measured.resolve();
      if (!isGood) return false;
      // As if the answer had taken no time to come: what is measured wrongly is then behind, never ahead.
      this.#offsetMs = redisMs - receivedAt;
      return true;
    } catch (error) {
      if (this.#isOpen) this.#onError(error);
      return false;
    }
  }
}
