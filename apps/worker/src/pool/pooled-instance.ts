import { clockSkewMs } from '@pilum/core/redis/shared-time.ts';
import type { InstanceInfo } from '@pilum/core/schemas/worker.ts';
import { INSTANCE_TRANSITIONS, type InstanceState } from '@pilum/core/states/states.ts';
import { transition } from '@pilum/core/states/transition-table.ts';
import type { InstanceSecrets } from '../runtimes/contract/instance-secrets.ts';
import type { Call, CallResult, InstanceEnd, RunnableVersion, RuntimeInstance } from '../runtimes/contract/runtime.ts';
import { SecretMask } from '../secrets/secret-mask.ts';
import { callMasked } from './masked-call.ts';

/**
 * One instance with its state, from the first moment of its start:
 *
 *     creating → ready ⇄ running → terminating → terminated
 *         └────────┴────────┴──→ failed
 */
export class PooledInstance {
  readonly instanceId: string;
  readonly runnable: RunnableVersion;
  readonly #createdAtMs = Date.now();
  #state: InstanceState = 'creating';
  #runtimeInstance: RuntimeInstance | null = null;
  #lastUsedAtMs = Date.now();
  #tasksRun = 0;
  /** Those that it serves now: more than one only where its version lets it. */
  readonly #taskIds = new Set<string>();
  #isRetired = false;
  #secrets: { readonly versions: InstanceSecrets['versions']; readonly mask: SecretMask } | null = null;

  constructor(instanceId: string, runnable: RunnableVersion) {
    this.instanceId = instanceId;
    this.runnable = runnable;
  }

  get state(): InstanceState {
    return this.#state;
  }

  get tasksRun(): number {
    return this.#tasksRun;
  }

  /** Time that it has been there, ms. */
  get ageMs(): number {
    return Date.now() - this.#createdAtMs;
  }

  get lastUsedAtMs(): number {
    return this.#lastUsedAtMs;
  }

  get reusable(): boolean {
    return !this.#isRetired && (this.#runtimeInstance?.reusable ?? false);
  }

  /** Time that it took to load its code, ms; 0 where its runtime does not say. */
  get loadMs(): number {
    return this.#runtimeInstance?.loadMs ?? 0;
  }

  /** The versions of the secrets that it is started with, by name; empty where it has none. */
  get secretVersions(): Readonly<Record<string, number>> {
    return this.#secrets?.versions ?? {};
  }

  /** Notes the secrets that it is started with. */
  given({ versions, values }: InstanceSecrets): void {
    this.#secrets = { versions, mask: new SecretMask(values) };
  }

  /** Returns what its start has thrown, without the values of its secrets. */
  masked(thrown: unknown): unknown {
    return this.#secrets === null ? thrown : this.#secrets.mask.thrown(thrown);
  }

  /** Its task, if it has one, is its last. */
  retire(): void {
    this.#isRetired = true;
  }

  /** Resolves when it is gone; only after {@link started}. */
  get ended(): Promise<InstanceEnd> {
    return this.#running().ended;
  }

  /** The runtime has it up. */
  started(runtimeInstance: RuntimeInstance): void {
    this.#runtimeInstance = runtimeInstance;
    this.#become('ready');
  }

  /** Its start failed, or it ended by itself. */
  failed(): void {
    this.#become('failed');
  }

  /** Tasks that it serves now. */
  get tasksNow(): number {
    return this.#taskIds.size;
  }

  /** Notes that it serves this task from now on, besides those that it serves already. */
  lease(taskId: string): void {
    const { size } = this.#taskIds;
    // From running to running there is no way: one more than it may have is a mistake of ours.
    if (size === 0 || size >= this.runnable.version.spec.pool.concurrency) this.#become('running');
    this.#taskIds.add(taskId);
  }

  /** A task is over; with the last of them it is ready for others, unless it has ended. */
  release(taskId: string): void {
    const wasIts = this.#taskIds.delete(taskId);
    this.#lastUsedAtMs = Date.now();
    const hasEnded = this.#state === 'failed' || this.#state === 'terminating' || this.#state === 'terminated';
    if (!wasIts || (this.#taskIds.size === 0 && !hasEnded)) this.#become('ready');
  }

  async call(call: Call): Promise<CallResult> {
    this.#tasksRun++;
    const running = this.#running();
    return await (this.#secrets === null ? running.call(call) : callMasked(running, call, this.#secrets.mask));
  }

  /** Whether a call that ended badly ended alone; see {@link RuntimeInstance.outlives}. */
  outlives(taskId: string, isTimeout: boolean): boolean {
    return this.#runtimeInstance?.outlives?.(taskId, isTimeout) ?? false;
  }

  /** Whether it would take a call now; to be asked of one that is ready. */
  async check(withinMs: number): Promise<boolean> {
    return await this.#running().check(withinMs);
  }

  /** Ends it and waits until it is gone. May be called in any state, and twice. */
  async stop(graceMs: number): Promise<void> {
    if (this.#state === 'terminated' || this.#state === 'failed') return;
    if (this.#state !== 'terminating') this.#become('terminating');
    await this.#runtimeInstance?.stop({ graceMs });
    if (this.#state === 'terminating') this.#become('terminated');
  }

  info(workerId: string): InstanceInfo {
    const { namespace, version } = this.runnable;
    return {
      instanceId: this.instanceId,
      workerId,
      namespace,
      artifactId: version.artifactId,
      version: version.version,
      state: this.#state,
      createdAt: isoOf(this.#createdAtMs),
      lastUsedAt: isoOf(this.#lastUsedAtMs),
      tasksRun: this.#tasksRun,
      taskId: this.#taskIds.values().next().value ?? null,
      ...(this.#secrets === null ? {} : { secrets: { ...this.#secrets.versions } }),
    };
  }

  #running(): RuntimeInstance {
    if (this.#runtimeInstance === null) throw new Error(`instance ${this.instanceId} has not been started`);
    return this.#runtimeInstance;
  }

  #become(state: InstanceState): void {
    this.#state = transition(`instance ${this.instanceId}`, INSTANCE_TRANSITIONS, this.#state, state);
  }
}

/** A moment of this machine's clock as others see it. */
const isoOf = (ms: number) => new Date(ms - (clockSkewMs() ?? 0)).toISOString();
