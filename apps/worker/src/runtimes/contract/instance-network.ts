import type { Network } from '@pilum/core/spec/networks.ts';

/** The address at which an instance with a relayed network asks for names. */
export const NAME_SERVER = '192.0.0.1';

/** The use that an instance has made of its network until now. */
export interface NetworkSums {
  readonly connections: number;
  /** By the function, bytes. */
  readonly sentBytes: number;
  readonly receivedBytes: number;
  /** Names and addresses that were refused, in all. */
  readonly refusals: number;
  /** The last of them, the newest at the end. */
  readonly refused: readonly string[];
}

/** The network of one instance, which somebody outside of it opens and counts. */
export interface InstanceNetwork {
  /**
   * Opens what a version may reach; until then everything is closed.
   * @throws RuntimeError `RUNTIME_UNAVAILABLE`
   */
  open(network: Network): Promise<void>;
  /** Returns what was used until now. Never throws. */
  use(): Promise<NetworkSums>;
  /** The same, of a moment ago. */
  lastUse(): NetworkSums;
}

/** A network that stands ready for one instance, until it is released. */
export interface LeasedNetwork extends InstanceNetwork {
  /** Calls back, until it is released, when nothing gets out of the network any more. */
  onLost(listener: () => void): void;
  /** Closes it. */
  release(): void;
}

/** The program of the container that holds the network of another one. */
export interface NetworkHolder {
  /** The directory of its program, and the name of the main file. */
  readonly program: { readonly directory: string; readonly main: string };
  /** The directory of the programs of this machine that it runs, and the loader among them. */
  readonly tools: { readonly directory: string; readonly loader: string };
  /** Returns the rules that it is given for a version with this network. */
  rulesFor(network: Network): string;
}

/** The networks of containers: a container holds each of them, and its connections come to a socket. */
export interface ContainerNetworks {
  /** The reason why there are none here, one sentence that says what to do; null where there are. */
  problem(): Promise<string | null>;
  /** @throws RuntimeError `RUNTIME_UNAVAILABLE` */
  holder(): Promise<NetworkHolder>;
  /**
   * Takes the connections that come to a socket at a path, once it is opened; closed until then.
   * @throws RuntimeError `RUNTIME_UNAVAILABLE`
   */
  leaseAt(path: string): Promise<LeasedNetwork>;
}
