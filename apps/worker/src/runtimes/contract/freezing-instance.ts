import { InstanceError } from '@pilum/core/errors/pilum-error.ts';
import { logEvent } from '@pilum/core/log/log-events.ts';
import type { Logger } from 'pino';
import type { Freezer } from './launched-process.ts';
import type { Call, CallResult, InstanceEnd, RuntimeInstance } from './runtime.ts';

export interface FreezingOptions {
  readonly freezer: Freezer;
  /** The time from the end of a call until the instance is frozen, ms. */
  readonly afterMs: number;
  /**
   * Tells whether a frozen instance is woken to be asked whether it is well, once after each call; else the answer is that it was
   * when it was frozen.
   */
  readonly asksWhileFrozen: boolean;
  readonly logger: Logger;
}

/**
 * An instance that is frozen while nobody has called it for some time: nothing of it, whatever it has started, uses the processor.
 *
 *     running ⇄ idle → frozen → running (a call) or stopped
 */
export class FreezingInstance implements RuntimeInstance {
  readonly #instance: RuntimeInstance;
  readonly #options: FreezingOptions;
  #timer: NodeJS.Timeout | undefined;
  #isFrozen = false;
  #isStopped = false;
  /** Calls and questions that it has now. */
  #uses = 0;
  /** The instance has answered since its last call, and done nothing after that. */
  #hasAnswered = false;

  constructor(instance: RuntimeInstance, options: FreezingOptions) {
    this.#instance = instance;
    this.#options = options;
    void instance.ended.then(() => clearTimeout(this.#timer));
    this.#beginToWait();
  }

  get instanceId(): string {
    return this.#instance.instanceId;
  }

  get reusable(): boolean {
    return this.#instance.reusable;
  }

  get loadMs(): number {
    return this.#instance.loadMs ?? 0;
  }

  get ended(): Promise<InstanceEnd> {
    return this.#instance.ended;
  }

  async call(call: Call): Promise<CallResult> {
    clearTimeout(this.#timer);
    this.#uses++;
    this.#hasAnswered = false;
    try {
      if (this.#isFrozen) await this.#thaw();
      return await this.#instance.call(call);
    } finally {
      this.#uses--;
      this.#beginToWait();
    }
  }

  outlives(taskId: string, isTimeout: boolean): boolean {
    return this.#instance.outlives?.(taskId, isTimeout) ?? false;
  }

  async check(withinMs: number): Promise<boolean> {
    if (!this.#options.asksWhileFrozen) {
      if (this.#isFrozen) return this.#instance.reusable;
      const isWell = await this.#instance.check(withinMs);
      // It was frozen under the question, which it will answer later.
      return isWell || (this.#isFrozen && this.#instance.reusable);
    }
    if (this.#isFrozen && this.#hasAnswered) return this.#instance.reusable;
    return await this.#ask(withinMs);
  }

  async stop(options: { graceMs: number }): Promise<void> {
    clearTimeout(this.#timer);
    this.#isStopped = true;
    await this.#instance.stop(options);
  }

  /** Wakes it where it is frozen, and asks it; it is not frozen meanwhile. */
  async #ask(withinMs: number): Promise<boolean> {
    clearTimeout(this.#timer);
    this.#uses++;
    const wasFrozen = this.#isFrozen;
    let isWell = false;
    try {
      if (wasFrozen) await this.#thaw();
      isWell = await this.#instance.check(withinMs);
    } finally {
      this.#uses--;
      this.#hasAnswered = wasFrozen && isWell && (await this.#freeze());
      if (!this.#isFrozen) this.#beginToWait();
    }
    return isWell;
  }

  #beginToWait(): void {
    clearTimeout(this.#timer);
    if (this.#uses > 0 || this.#isStopped) return;
    this.#timer = setTimeout(() => void this.#freeze(), this.#options.afterMs);
    this.#timer.unref();
  }

  /** Returns whether it is frozen now. */
  async #freeze(): Promise<boolean> {
    if (this.#uses > 0 || this.#isStopped || !this.#instance.reusable) return false;
    this.#isFrozen = true;
    try {
      this.#isFrozen = await this.#options.freezer.freeze();
    } catch (error) {
      this.#isFrozen = false;
      logEvent(this.#options.logger, 'instance-not-frozen', { err: error, instanceId: this.instanceId });
    }
    return this.#isFrozen;
  }

  /** @throws InstanceError `INSTANCE_LOST` */
  async #thaw(): Promise<void> {
    try {
      await this.#options.freezer.thaw();
      this.#isFrozen = false;
    } catch (error) {
      logEvent(this.#options.logger, 'instance-not-woken', { err: error, instanceId: this.instanceId });
      throw new InstanceError('INSTANCE_LOST', {
        message: 'The instance was frozen, and could not be woken.',
        cause: error,
      });
    }
  }
}
