import type { Logger } from 'pino';
import type { Presence } from '../../ownership/presence.ts';
import type { ContainerNetworks } from '../contract/instance-network.ts';

export interface DockerRuntimeOptions {
  /** The address of the Engine: `unix:///path` or `tcp://host:port`. */
  readonly host: string;
  /** Code, bootstraps and the directories of instances lie below it. */
  readonly stagingDirectory: string;
  /** The presence of the workers that share the staging directory; null where there is no other worker. */
  readonly presence: Presence | null;
  /** The same as the machine of the Engine calls it; null where that is as we do. */
  readonly stagingOfEngine: string | null;
  /** Tells whether `limits.network: host` is granted. */
  readonly allowHostNetwork: boolean;
  /** Tells whether an image may run as root where it says that it wants to. */
  readonly allowRoot: boolean;
  /** The OCI runtime that runs containers; null for the Engine's own choice. */
  readonly ociRuntime: string | null;
  /** Names and passwords for registries, in the form of Docker's config.json; null for none. */
  readonly credentialsFile: string | null;
  /** Tells whether a registry is asked for an image that is there already. */
  readonly pull: 'missing' | 'always';
  /** An instance that has been idle for so long is frozen without the Engine where that can be done here, ms; 0 for never. */
  readonly freezeAfterMs: number;
  /** An instance that has been idle for so long is paused by the Engine, where it cannot be frozen, ms; 0 for never. */
  readonly pauseAfterMs: number;
  /** The time from SIGTERM to SIGKILL where the runtime itself ends instances, at `close`, ms. */
  readonly killGraceMs: number;
  /** The networks that are relayed; null where there are none. */
  readonly networks: () => Promise<ContainerNetworks | null>;
  readonly workerId: string;
  readonly logger: Logger;
}
