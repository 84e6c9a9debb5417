import { InstanceError, RuntimeError } from '@pilum/core/errors/pilum-error.ts';
import type { RuntimeStatus } from '@pilum/core/schemas/worker.ts';
import type { RuntimeKind } from '@pilum/core/spec/runtimes.ts';
import type {
  Preparer,
  Prewarm,
  RunnableVersion,
  Runtime,
  RuntimeCapabilities,
  RuntimeInstance,
  StartOptions,
} from './runtime.ts';

/**
 * The life that every runtime has: it starts instances until it is closed, knows those that live, and ends them.
 *
 *     open → closing (no start any more; those under way are aborted) → closed (every instance is gone)
 */
export abstract class RuntimeBase implements Runtime {
  abstract readonly kind: RuntimeKind;
  abstract readonly capabilities: RuntimeCapabilities;
  readonly prewarm: Prewarm | null = null;
  readonly preparer: Preparer | null = null;
  readonly #closeGraceMs: number;
  readonly #instances = new Set<RuntimeInstance>();
  readonly #starting = new Set<Promise<unknown>>();
  readonly #closing = new AbortController();

  /** @param closeGraceMs from SIGTERM to SIGKILL for the instances that `close` ends, ms */
  constructor(closeGraceMs: number) {
    this.#closeGraceMs = closeGraceMs;
  }

  abstract check(): Promise<RuntimeStatus>;

  abstract removeOrphans(): Promise<void>;

  async start(runnable: RunnableVersion, { instanceId, signal }: StartOptions): Promise<RuntimeInstance> {
    this.#closing.signal.throwIfAborted();
    const ending = AbortSignal.any([signal, this.#closing.signal]);
    const started = this.begin(runnable, { instanceId, signal: ending });
    this.#starting.add(started);
    try {
      const instance = await started;
      this.#instances.add(instance);
      void instance.ended.then(() => this.#instances.delete(instance));
      return instance;
    } finally {
      this.#starting.delete(started);
    }
  }

  async close(): Promise<void> {
    this.#closing.abort(new RuntimeError('RUNTIME_UNAVAILABLE', { message: 'The worker is stopping.' }));
    await Promise.allSettled(this.#starting);
    const graceMs = this.#closeGraceMs;
    const stopped = [...this.#instances].map((instance) => instance.stop({ graceMs }));
    await Promise.all([...stopped, this.retire()]);
    await this.release();
  }

  /** Aborted, with a RuntimeError as its reason, when the runtime is closed. */
  protected get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** Starts one instance; `signal` is aborted at `close` as well. @throws what {@link Runtime.start} throws */
  protected abstract begin(runnable: RunnableVersion, options: StartOptions): Promise<RuntimeInstance>;

  /** Gives up what stands ready for starts to come, while the instances are ended. May be awaited twice. */
  protected async retire(): Promise<void> {}

  /** Gives up what the runtime has beside its instances, after all of them are gone. May be awaited twice. */
  protected async release(): Promise<void> {}
}

/** Makes the error of a start that was given up. */
export function startAborted(cause: unknown): InstanceError {
  const message = 'The start was aborted before the instance was ready.';
  return new InstanceError('INSTANCE_START_FAILED', { message, cause });
}
