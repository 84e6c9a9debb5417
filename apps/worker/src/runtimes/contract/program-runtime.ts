import { InstanceError, RequestError } from '@pilum/core/errors/pilum-error.ts';
import type { Protocol as ProtocolName } from '@pilum/core/spec/protocols.ts';
import type { ProgramHost, Protocol } from './protocol.ts';
import type { RunnableVersion, RuntimeInstance, StartOptions } from './runtime.ts';
import { RuntimeBase, startAborted } from './runtime-base.ts';

export interface ProgramRuntimeOptions {
  readonly protocols: readonly Protocol[];
  /** Tells whether `limits.network: host` is granted. */
  readonly allowHostNetwork: boolean;
  /** The time from SIGTERM to SIGKILL where the runtime itself ends instances, at `close`, ms. */
  readonly killGraceMs: number;
}

/**
 * A runtime whose instances are programs. Such a runtime only launches them; what is said to them, and when they are ready,
 * is the business of their protocol.
 */
export abstract class ProgramRuntime extends RuntimeBase {
  readonly capabilities: { readonly protocols: readonly ProtocolName[]; readonly streaming: true };
  /** Tells whether instances are made from images. */
  protected abstract readonly runsImages: boolean;
  readonly #protocols: ReadonlyMap<ProtocolName, Protocol>;
  readonly #allowHostNetwork: boolean;

  constructor({ protocols, allowHostNetwork, killGraceMs }: ProgramRuntimeOptions) {
    super(killGraceMs);
    this.#protocols = new Map(protocols.map((protocol) => [protocol.name, protocol]));
    this.#allowHostNetwork = allowHostNetwork;
    this.capabilities = { protocols: [...this.#protocols.keys()], streaming: true };
  }

  protected override async begin(runnable: RunnableVersion, options: StartOptions): Promise<RuntimeInstance> {
    const protocol = this.#admit(runnable);
    const host = await this.hostFor(runnable, options.instanceId);
    if (options.signal.aborted) throw startAborted(options.signal.reason);
    const instance = await protocol.start({ runnable, host, ...options, closing: this.closing });
    return this.finish(instance, host, runnable);
  }

  /**
   * Makes what launches the programs of one instance.
   * @throws RuntimeError where this machine runs nothing now, or not such a version
   */
  protected abstract hostFor(runnable: RunnableVersion, instanceId: string): Promise<ProgramHost>;

  /** Makes the instance that callers see of the one that the protocol has made. */
  protected finish(instance: RuntimeInstance, _host: ProgramHost, _runnable: RunnableVersion): RuntimeInstance {
    return instance;
  }

  /** Returns the version's protocol. @throws RequestError, InstanceError for what is not run here */
  #admit(runnable: RunnableVersion): Protocol {
    const { protocol: name, limits } = runnable.version.spec;
    const protocol = this.#protocols.get(name as ProtocolName);
    if (protocol === undefined) {
      throw new RequestError('NOT_IMPLEMENTED', { message: `The ${this.kind} runtime has no protocol ${name} yet.` });
    }
    const problem = protocol.problemOf(runnable, this.runsImages);
    if (problem !== null) throw new InstanceError('INSTANCE_START_FAILED', { message: problem });
    if (limits.network === 'host' && !this.#allowHostNetwork) {
      throw new RequestError('FORBIDDEN', { message: 'This worker gives no function the network of its host.' });
    }
    return protocol;
  }
}
