import type { Logger } from 'pino';
import type { RelaySettings } from './network/relay/wire.ts';

/** The settings from which the sandboxes of a worker are made. */
export interface SandboxesOptions {
  /** `none` is for machines that cannot sandbox, and for code that may do what the worker may. */
  readonly isolation: 'sandbox' | 'none';
  /** The directory below which lie the files that instances read; see `chooseStagingDirectory`. */
  readonly stagingDirectory: string;
  /** Puts what runs inside instances on our behalf below it and returns where; left out where there is no such thing. */
  readonly stageBootstraps?: (stagingDirectory: string) => Promise<string>;
  readonly nodePath: string;
  /** The path of Python; null where functions in Python are refused. */
  readonly pythonPath: string | null;
  /** The other interpreters that a spec may name: `auto`, `none`, or paths by commas. None where that is left out. */
  readonly interpreters?: string;
  /** The variables that say where interpreters may be: PATH, HOME, and those of version managers. */
  readonly environment?: NodeJS.ProcessEnv;
  /** The settings of the networks that are relayed; no network is where they are left out. */
  readonly relay?: RelaySettings;
  readonly workerId: string;
  readonly logger: Logger;
}
