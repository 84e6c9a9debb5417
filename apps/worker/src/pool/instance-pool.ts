import { randomUUID } from 'node:crypto';
import { InstanceError, PilumError, toPilumError } from '@pilum/core/errors/pilum-error.ts';
import { logEvent } from '@pilum/core/log/log-events.ts';
import { sharedNow } from '@pilum/core/redis/shared-time.ts';
import type { Logger } from 'pino';
import { requireUsableTexts } from '../runtimes/contract/checked-texts.ts';
import type { InstanceSecrets } from '../runtimes/contract/instance-secrets.ts';
import type { RunnableVersion, Runtime } from '../runtimes/contract/runtime.ts';
import { POLICIES, type Policy } from './choose-instance.ts';
import { IdleRounds, type ReplaceReason } from './idle-rounds.ts';
import { PooledInstance } from './pooled-instance.ts';
import { StartBackoff } from './start-backoff.ts';

/** An instance for one task. `done` must be called exactly once. */
export interface Lease {
  readonly instance: PooledInstance;
  /** True where it was started for this task. */
  readonly cold: boolean;
  /** Time that it took to load the code, ms, where it was started for this task; else 0. */
  readonly loadMs: number;
  /**
   * Gives it back; `healthy: false` has it stopped instead.
   * @returns null where it is ready for the next task, else what resolves when it is gone
   */
  done(options: { healthy: boolean; graceMs: number }): Promise<void> | null;
}

export interface PoolDeps {
  readonly runtime: Runtime;
  /** Makes sure that the code on disk is what it should be, before an instance gets it. */
  readonly verifyCode: () => Promise<void>;
  /** Refuses a start of this version that is not allowed at the moment. */
  readonly admit: () => Promise<void>;
  /** Reads the secrets for one instance; null where the version has none. */
  readonly secrets: () => Promise<InstanceSecrets | null>;
  readonly killGraceMs: number;
  readonly logger: Logger;
  /** Asks for room for one more instance on this worker; evicts an idle one of another pool where it must. */
  readonly makeRoom: () => void;
  /** Whether there is room for one more as it is. */
  readonly hasRoom: () => boolean;
  /** Is told that an instance has become idle, or has gone. */
  readonly onRoom: () => void;
  /** Is told that an idle instance is idle no more, and not because it was leased. */
  readonly onIdleGone: () => void;
}

const LIMIT_REACHED = new DOMException('The time limit was reached.', 'TimeoutError');

/** The instances of one version on one worker. */
export class InstancePool {
  readonly runnable: RunnableVersion;
  readonly #deps: PoolDeps;
  readonly #choose: Policy;
  readonly #instances = new Set<PooledInstance>();
  readonly #idleTimers = new Map<PooledInstance, NodeJS.Timeout>();
  readonly #waiting: (() => void)[] = [];
  readonly #backoff = new StartBackoff();
  readonly #closing = new AbortController();
  readonly #idleRounds: IdleRounds;
  /** Instances that are kept, also when nobody uses them. */
  #min = 0;
  #filling: Promise<void> | null = null;
  /** Instances that are being started. */
  #starting = 0;

  constructor(runnable: RunnableVersion, deps: PoolDeps) {
    this.runnable = runnable;
    this.#deps = deps;
    const { policy = 'most-recent', healthCheckIntervalMs, recycleAfterMs } = runnable.version.spec.pool;
    this.#choose = POLICIES[policy];
    this.#idleRounds = new IdleRounds({
      intervalMs: healthCheckIntervalMs,
      recycleAfterMs: recycleAfterMs ?? Number.POSITIVE_INFINITY,
      idle: () => this.idle(),
      hasInstances: () => this.size > 0,
      replace: (instance, reason) => this.#replace(instance, reason),
      logger: deps.logger,
    });
  }

  get instances(): Iterable<PooledInstance> {
    return this.#instances;
  }

  get size(): number {
    return this.#instances.size;
  }

  /**
   * A ready instance, or a new one, or the next that becomes free where the pool is at its limit.
   * @throws InstanceError `INSTANCE_START_FAILED` and what else a runtime's start throws
   */
  async lease(taskId: string, signal: AbortSignal): Promise<Lease> {
    for (;;) {
      signal.throwIfAborted();
      const ready = this.#pick();
      if (ready !== null) {
        this.#stopIdleTimer(ready);
        ready.lease(taskId);
        return this.#leaseOf(ready, taskId, false);
      }
      if (this.#instances.size < this.runnable.version.spec.pool.max && !this.#placeIsComing()) {
        const instance = await this.#start(signal);
        instance.lease(taskId);
        this.#wakeOne();
        return this.#leaseOf(instance, taskId, true);
      }
      await this.#someoneIsFree(signal);
    }
  }

  /** An instance for one more task: one that serves others and has room, before one that is idle, which can then go. */
  #pick(): PooledInstance | null {
    if (this.#concurrency > 1) {
      const open = [...this.#instances].filter(
        (instance) => instance.tasksNow > 0 && instance.tasksNow < this.#concurrency && this.#isReusable(instance),
      );
      const shared = this.#choose(open, Math.random());
      if (shared !== null) return shared;
    }
    return this.#choose(this.idle(), Math.random());
  }

  /** Whether an instance that is being started will have room for one more than those who wait. */
  #placeIsComing(): boolean {
    return this.#waiting.length < this.#starting * (this.#concurrency - 1);
  }

  get #concurrency(): number {
    return this.runnable.version.spec.pool.concurrency;
  }

  /** Time at which the next start may be tried, ms since 1970: in a pause after one that failed, its end. */
  get nextStartAtMs(): number {
    return this.#backoff.pausedUntilMs;
  }

  /** Instances that serve no task. */
  idle(): PooledInstance[] {
    const idle: PooledInstance[] = [];
    for (const instance of this.#instances) if (instance.state === 'ready') idle.push(instance);
    return idle;
  }

  /** Number of instances that serve no task. */
  get idleCount(): number {
    let count = 0;
    for (const { state } of this.#instances) if (state === 'ready') count++;
    return count;
  }

  /** Its instances by what they are about: idle, on their way out, or else (starting or at a task) busy. */
  census(): { busy: number; idle: number; leaving: number } {
    let idle = 0;
    let leaving = 0;
    for (const { state } of this.#instances) {
      if (state === 'ready') idle++;
      else if (state === 'terminating') leaving++;
    }
    return { busy: this.size - idle - leaving, idle, leaving };
  }

  /** Whether it has more instances than it is to keep. */
  get hasSpare(): boolean {
    return this.size > this.#min;
  }

  /** Stops an instance, at once where it is idle and else when its task has ended; false where it is not of this pool. */
  async stopInstance(instanceId: string): Promise<boolean> {
    const instance = [...this.#instances].find((candidate) => candidate.instanceId === instanceId);
    if (instance === undefined) return false;
    instance.retire();
    if (instance.state !== 'ready') return true;
    await this.evict(instance);
    this.#fill();
    return true;
  }

  /** Keeps so many instances from now on; what is missing is started in the background, one after the other. */
  keep(min: number): void {
    this.#min = Math.min(min, this.runnable.version.spec.pool.max);
    for (const instance of this.idle()) this.#startIdleTimer(instance);
    this.#fill();
  }

  /** Replaces idle instances that are sick or past their age; happens by itself in the interval that the version says. */
  lookAfterIdle(): Promise<void> {
    return this.#idleRounds.look();
  }

  /** Makes up for what went missing while nobody looked; to be called now and then. */
  tend(): void {
    this.#fill();
  }

  #fill(): void {
    if (this.#filling !== null || !this.#isShort()) return;
    this.#filling = this.#startMissing()
      // A start that failed has been logged, and its pause is the pool's.
      .catch(() => undefined)
      .finally(() => {
        this.#filling = null;
      });
  }

  /** Tells whether room is short: what is kept warm takes none from what is called. */
  #isShort(): boolean {
    return this.size < this.#min && !this.#closing.signal.aborted && this.#deps.hasRoom();
  }

  async #startMissing(): Promise<void> {
    while (this.#isShort()) {
      const instance = await this.#start(this.#closing.signal);
      this.#startIdleTimer(instance);
      this.#wakeOne();
    }
  }

  /** Stops an idle instance and forgets it. */
  async evict(instance: PooledInstance): Promise<void> {
    this.#stopIdleTimer(instance);
    this.#instances.delete(instance);
    this.#deps.onIdleGone();
    await instance.stop(this.#deps.killGraceMs);
    this.#wakeOne();
  }

  async #replace(instance: PooledInstance, reason: ReplaceReason): Promise<void> {
    const { artifactId, version } = this.runnable.version;
    this.#deps.logger[reason === 'sick' ? 'warn' : 'info'](
      { artifactId, version, instanceId: instance.instanceId },
      reason === 'sick'
        ? 'an idle instance does not answer and is replaced'
        : 'an idle instance is replaced for its age',
    );
    const gone = this.evict(instance);
    this.#fill();
    await gone;
    await this.#filling;
  }

  /** Stops every instance, also those in use, and waits until they are gone. May be awaited twice. */
  async close(graceMs: number): Promise<void> {
    this.#closing.abort(new InstanceError('INSTANCE_LOST', { message: 'The worker is stopping.' }));
    for (const timer of this.#idleTimers.values()) clearTimeout(timer);
    await Promise.all([...[...this.#instances].map((instance) => instance.stop(graceMs)), this.#idleRounds.close()]);
  }

  async #start(signal: AbortSignal): Promise<PooledInstance> {
    const standing = this.#backoff.standingError(sharedNow());
    if (standing !== null) throw standing;
    this.#deps.makeRoom();
    const { spec } = this.runnable.version;
    const instance = new PooledInstance(randomUUID(), this.runnable);
    this.#instances.add(instance);
    this.#starting++;
    const startLimit = limitOf(spec.timeouts.startMs);
    const limit = startLimit.signal;
    try {
      requireUsableTexts(this.runnable.version);
      await this.#deps.admit();
      await this.#deps.verifyCode();
      const secrets = await this.#deps.secrets();
      if (secrets !== null) instance.given(secrets);
      const runnable = secrets === null ? this.runnable : { ...this.runnable, secrets };
      const runtimeInstance = await this.#deps.runtime.start(runnable, {
        instanceId: instance.instanceId,
        signal: AbortSignal.any([signal, this.#closing.signal, limit]),
      });
      this.#starting--;
      instance.started(runtimeInstance);
      this.#backoff.succeeded();
      this.#idleRounds.begin();
      void instance.ended.then(() => this.#onEnded(instance));
      return instance;
    } catch (thrown) {
      this.#starting--;
      instance.failed();
      this.#instances.delete(instance);
      this.#wakeOne();
      if (signal.aborted) throw instance.masked(thrown);
      const error = this.#startError(instance.masked(thrown), limit);
      this.#backoff.failed(error, sharedNow());
      logEvent(this.#deps.logger, 'instance-not-started', {
        artifactId: this.runnable.version.artifactId,
        version: this.runnable.version.version,
        err: error,
      });
      throw error;
    } finally {
      startLimit.forget();
    }
  }

  #startError(thrown: unknown, limit: AbortSignal): PilumError {
    const error = toPilumError(thrown);
    if (!limit.aborted) return error;
    const afterMs = this.runnable.version.spec.timeouts.startMs;
    // A server says what it was seen to listen on.
    const more = error.details?.listeningOn === undefined ? '' : ` ${error.message}`;
    return new InstanceError('INSTANCE_START_FAILED', {
      message: `The instance was not ready within ${afterMs} ms (timeouts.startMs).${more}`,
      details: { ...(thrown instanceof PilumError ? thrown.details : {}), afterMs },
      cause: thrown,
    });
  }

  #leaseOf(instance: PooledInstance, taskId: string, cold: boolean): Lease {
    let isDone = false;
    return {
      instance,
      cold,
      loadMs: cold ? instance.loadMs : 0,
      done: ({ healthy, graceMs }) => {
        if (isDone) return null;
        isDone = true;
        if (instance.tasksNow > 1) {
          // The others are not to end with it. What is not well takes no more, and goes with the last of them.
          if (!healthy) instance.retire();
          instance.release(taskId);
          this.#wakeOne();
          return null;
        }
        if (!healthy || !this.#isReusable(instance)) return this.#discard(instance, graceMs);
        instance.release(taskId);
        this.#startIdleTimer(instance);
        this.#wakeOne();
        return null;
      },
    };
  }

  async #discard(instance: PooledInstance, graceMs: number): Promise<void> {
    try {
      await instance.stop(graceMs);
    } finally {
      this.#instances.delete(instance);
      this.#wakeOne();
      this.#fill();
    }
  }

  #isReusable(instance: PooledInstance): boolean {
    const { recycleAfterTasks = Number.POSITIVE_INFINITY, recycleAfterMs = Number.POSITIVE_INFINITY } =
      this.runnable.version.spec.pool;
    if (!instance.reusable || instance.state !== 'running' || this.#closing.signal.aborted) return false;
    return instance.tasksRun < recycleAfterTasks && instance.ageMs < recycleAfterMs;
  }

  /** An instance went away by itself: under a task the task's own call hears of it, an idle one is just gone. */
  #onEnded(instance: PooledInstance): void {
    this.#stopIdleTimer(instance);
    const wasIdle = instance.state === 'ready';
    if (wasIdle || instance.state === 'running') instance.failed();
    if (this.#instances.delete(instance)) this.#wakeOne();
    if (wasIdle) this.#deps.onIdleGone();
    this.#fill();
  }

  #startIdleTimer(instance: PooledInstance): void {
    this.#stopIdleTimer(instance);
    const timer = setTimeout(() => {
      this.#idleTimers.delete(instance);
      if (instance.state !== 'ready') return;
      if (this.size > this.#min) void this.evict(instance);
      else this.#startIdleTimer(instance);
    }, this.runnable.version.spec.pool.idleTimeoutMs);
    timer.unref();
    this.#idleTimers.set(instance, timer);
  }

  #stopIdleTimer(instance: PooledInstance): void {
    clearTimeout(this.#idleTimers.get(instance));
    this.#idleTimers.delete(instance);
  }

  #wakeOne(): void {
    this.#deps.onRoom();
    // There may be room for as many; who finds none waits again.
    for (let i = 0; i < this.#concurrency; i++) this.#waiting.shift()?.();
  }

  async #someoneIsFree(signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.push(resolve);
    const onAbort = () => {
      const index = this.#waiting.indexOf(resolve);
      if (index >= 0) this.#waiting.splice(index, 1);
      reject(signal.reason);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await promise;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }
}

/**
 * A signal that is aborted after so many ms. Where this process itself was held up for as long, it first reads what an
 * instance has sent meanwhile: its own delay is not to be blamed on the instance.
 */
function limitOf(ms: number): { signal: AbortSignal; forget: () => void } {
  const controller = new AbortController();
  const timer = setTimeout(() => setImmediate(() => controller.abort(LIMIT_REACHED)), ms);
  return { signal: controller.signal, forget: () => clearTimeout(timer) };
}
