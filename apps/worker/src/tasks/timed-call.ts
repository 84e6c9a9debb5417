import { logEvent } from '@pilum/core/log/log-events.ts';
import type { Logger } from 'pino';
import type { Lease } from '../pool/instance-pool.ts';
import { CallStopped } from '../runtimes/contract/call-stopped.ts';
import type { Call, CallResult } from '../runtimes/contract/runtime.ts';

/** Reason why a call's signal was aborted; one for all, because nobody reads its stack. */
const TIMED_OUT = new CallStopped('TimeoutError');

export interface TimedCallOptions {
  readonly runTimeoutMs: number;
  readonly killGraceMs: number;
  readonly logger: Logger;
}

/** One call of a leased instance, which ends at its run timeout at the latest, and then gives the instance back. */
export class TimedCall {
  /** Time that it ran, ms; until it has ended, 0. */
  runMs = 0;
  /** Settles when the instance is free again, or gone; null where that is so at once. */
  released: Promise<void> | null = null;
  readonly #lease: Lease;
  readonly #options: TimedCallOptions;

  constructor(lease: Lease, options: TimedCallOptions) {
    this.#lease = lease;
    this.#options = options;
  }

  /**
   * @returns null where its time was over
   * @throws what `call` of the instance throws; the reason of the signal where that was aborted
   */
  async run(call: Omit<Call, 'deadlineMs' | 'signal'>, signal: AbortSignal): Promise<CallResult | null> {
    const { runTimeoutMs } = this.#options;
    const begun = performance.now();
    const { promise, resolve, reject } = Promise.withResolvers<CallResult | null>();
    const ended = new AbortController();
    let isOver = false;
    const timer = setTimeout(() => {
      // Where this process itself was held up, an answer may lie in its pipe that came in time: it is read first.
      setImmediate(() => {
        if (isOver) return;
        ended.abort(TIMED_OUT);
        resolve(null);
      });
    }, runTimeoutMs);
    const stop = () => {
      ended.abort(signal.reason);
      reject(signal.reason);
    };
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
    let healthy = false;
    let isTimeout = false;
    try {
      const whole: Call = { ...call, deadlineMs: Date.now() + runTimeoutMs, signal: ended.signal };
      this.#lease.instance.call(whole).then(resolve, reject);
      const result = await promise;
      isTimeout = result === null;
      healthy = !isTimeout;
      return result;
    } finally {
      healthy ||= this.#lease.instance.outlives(call.taskId, isTimeout);
      this.runMs = performance.now() - begun;
      isOver = true;
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
      this.#release(healthy);
    }
  }

  /** The outcome does not wait for an instance to die; the slot it used does. */
  #release(healthy: boolean): void {
    const { killGraceMs, logger } = this.#options;
    this.released =
      this.#lease.done({ healthy, graceMs: killGraceMs })?.catch((error: unknown) => {
        logEvent(logger, 'instance-not-stopped', { err: error });
      }) ?? null;
  }
}
