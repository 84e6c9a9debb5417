import type { Logger } from 'pino';
import type { Presence } from '../../ownership/presence.ts';

export interface ProcessRuntimeOptions {
  /** `none` is for machines that cannot sandbox, and for code that may do what the worker may. */
  readonly isolation: 'sandbox' | 'none';
  /** What instances read lies below it; see `chooseStagingDirectory`. */
  readonly stagingDirectory: string;
  /** Of the workers that share that directory; left out where there is no other. */
  readonly presence?: Presence;
  readonly nodePath: string;
  /** null: functions in Python are refused. */
  readonly pythonPath: string | null;
  /** Whether `limits.network: host` is granted. */
  readonly allowHostNetwork: boolean;
  /** From SIGTERM to SIGKILL where the runtime itself ends instances: at `close`. */
  readonly killGraceMs: number;
  /** Prewarmed sandboxes that are kept ready for each language; 0 for none. */
  readonly prewarm: number;
  readonly workerId: string;
  readonly logger: Logger;
}
