import type { Presence } from '../../ownership/presence.ts';
import type { SandboxesOptions } from '../sandbox/options.ts';

export interface ProcessRuntimeOptions extends SandboxesOptions {
  /** The presence of the workers that share the staging directory; left out where there is no other worker. */
  readonly presence?: Presence;
  /** Tells whether `limits.network: host` is granted. */
  readonly allowHostNetwork: boolean;
  /** The time from SIGTERM to SIGKILL where the runtime itself ends instances, at `close`, ms. */
  readonly killGraceMs: number;
  /** An instance that has been idle for so long is frozen until it is called, ms; 0 for never. */
  readonly freezeAfterMs: number;
  /** Prewarmed sandboxes that are kept ready for each language; 0 for none. */
  readonly prewarm: number;
}
