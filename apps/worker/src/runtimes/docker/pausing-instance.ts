import { InstanceError } from '@pilum/core/errors/pilum-error.ts';
import { logEvent } from '@pilum/core/log/log-events.ts';
import type { Logger } from 'pino';
import type { Call, CallResult, InstanceEnd, RuntimeInstance } from '../contract/runtime.ts';
import type { Container } from './container.ts';
import { saidBy } from './engine.ts';

/** An instance whose container is paused while nobody has called it for some time: then it uses no processor at all. */
export class PausingInstance implements RuntimeInstance {
  readonly #instance: RuntimeInstance;
  readonly #container: Container;
  readonly #afterMs: number;
  readonly #logger: Logger;
  #timer: NodeJS.Timeout | undefined;
  #isPaused = false;
  #calls = 0;

  /** @param afterMs how long it has to be idle, ms */
  constructor(instance: RuntimeInstance, container: Container, afterMs: number, logger: Logger) {
    this.#instance = instance;
    this.#container = container;
    this.#afterMs = afterMs;
    this.#logger = logger;
    void instance.ended.then(() => clearTimeout(this.#timer));
    this.#beginToWait();
  }

  get instanceId(): string {
    return this.#instance.instanceId;
  }

  get reusable(): boolean {
    return this.#instance.reusable;
  }

  get ended(): Promise<InstanceEnd> {
    return this.#instance.ended;
  }

  async call(call: Call): Promise<CallResult> {
    clearTimeout(this.#timer);
    this.#calls++;
    try {
      await this.#wake();
      return await this.#instance.call(call);
    } finally {
      this.#calls--;
      this.#beginToWait();
    }
  }

  outlives(taskId: string, isTimeout: boolean): boolean {
    return this.#instance.outlives?.(taskId, isTimeout) ?? false;
  }

  /** Tells whether the instance is well; a paused one was well when it was paused, and has done nothing since. */
  async check(withinMs: number): Promise<boolean> {
    if (this.#isPaused) return this.#instance.reusable;
    const isWell = await this.#instance.check(withinMs);
    // The instance was paused under the question, which it will answer later.
    return isWell || (this.#isPaused && this.#instance.reusable);
  }

  async stop(options: { graceMs: number }): Promise<void> {
    clearTimeout(this.#timer);
    this.#calls = Number.POSITIVE_INFINITY;
    await this.#instance.stop(options);
  }

  #beginToWait(): void {
    clearTimeout(this.#timer);
    if (this.#calls > 0) return;
    this.#timer = setTimeout(() => void this.#pause(), this.#afterMs);
    this.#timer.unref();
  }

  async #pause(): Promise<void> {
    if (this.#calls > 0 || !this.#instance.reusable) return;
    this.#isPaused = true;
    this.#isPaused = await this.#container.pause();
  }

  async #wake(): Promise<void> {
    if (!this.#isPaused) return;
    try {
      await this.#container.resume();
      this.#isPaused = false;
    } catch (error) {
      logEvent(this.#logger, 'container-not-woken', { instanceId: this.instanceId, said: saidBy(error) });
      throw new InstanceError('INSTANCE_LOST', {
        message: 'The instance was paused, and the Docker Engine does not answer to wake it.',
        cause: error,
      });
    }
  }
}
