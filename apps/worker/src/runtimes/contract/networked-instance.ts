import type { NetworkUse } from '@pilum/core/schemas/task.ts';
import type { InstanceNetwork, NetworkSums } from './instance-network.ts';
import type { Call, CallResult, InstanceEnd, RuntimeInstance } from './runtime.ts';

/** The longest that a result waits to hear what was used, ms: beyond it counts what was said last. */
const USE_LIMIT_MS = 250;
const NOTHING: NetworkSums = { connections: 0, sentBytes: 0, receivedBytes: 0, refusals: 0, refused: [] };

/** An instance whose network is counted: each call is told what was used since the one before. */
export class NetworkedInstance implements RuntimeInstance {
  readonly #instance: RuntimeInstance;
  readonly #network: () => InstanceNetwork | null;
  /** The sums that calls were told of, and whose they are: a program for each call has a network of its own each time. */
  #told: { readonly network: InstanceNetwork | null; readonly sums: NetworkSums } = { network: null, sums: NOTHING };

  /** @param network of the program that was launched last; null where there is none yet */
  constructor(instance: RuntimeInstance, network: () => InstanceNetwork | null) {
    this.#instance = instance;
    this.#network = network;
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
    const { signal } = call;
    // Nobody waits for what comes after that.
    const stopped = () => this.#tell(call, this.#network()?.lastUse());
    signal.addEventListener('abort', stopped, { once: true });
    try {
      const result = await this.#instance.call(call);
      const { refused } = this.#tell(call, await this.#use());
      return result.ok || refused.length === 0 ? result : withRefusals(result, refused);
    } catch (error) {
      this.#tell(call, await this.#use());
      throw error;
    } finally {
      signal.removeEventListener('abort', stopped);
    }
  }

  outlives(taskId: string, isTimeout: boolean): boolean {
    return this.#instance.outlives?.(taskId, isTimeout) ?? false;
  }

  check(withinMs: number): Promise<boolean> {
    return this.#instance.check(withinMs);
  }

  stop(options: { graceMs: number }): Promise<void> {
    return this.#instance.stop(options);
  }

  async #use(): Promise<NetworkSums | undefined> {
    const network = this.#network();
    if (network === null) return undefined;
    const { promise, resolve } = Promise.withResolvers<NetworkSums>();
    const timer = setTimeout(() => resolve(network.lastUse()), USE_LIMIT_MS);
    network.use().then(resolve, () => resolve(network.lastUse()));
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Tells a call what was used since the last one was told, and returns that. */
  #tell(call: Call, sums: NetworkSums = NOTHING): NetworkUse {
    const network = this.#network();
    const before = this.#told.network === network ? this.#told.sums : NOTHING;
    this.#told = { network, sums };
    const fresh = Math.min(sums.refusals - before.refusals, sums.refused.length);
    const use = {
      connections: Math.max(0, sums.connections - before.connections),
      sentBytes: Math.max(0, sums.sentBytes - before.sentBytes),
      receivedBytes: Math.max(0, sums.receivedBytes - before.receivedBytes),
      refused: fresh > 0 ? [...new Set(sums.refused.slice(-fresh))] : [],
    };
    call.used?.(use);
    return use;
  }
}

/** A failure with a hint to what it was refused, where nothing else was said about what to do. */
function withRefusals(result: Extract<CallResult, { ok: false }>, refused: readonly string[]): CallResult {
  const { error } = result;
  if (error.hint !== undefined) return result;
  const hint = `limits.network does not open ${refused.slice(0, 3).join(', ')}: name in its list what the function is to reach.`;
  return { ok: false, error: { ...error, hint } };
}
