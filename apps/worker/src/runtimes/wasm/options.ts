import type { Logger } from 'pino';
import type { Presence } from '../../ownership/presence.ts';
import type { Sandboxes } from '../sandbox/sandboxes.ts';

export interface WasmRuntimeOptions {
  /** `auto`: wasmtime where its addon can be loaded, else V8. */
  readonly engine: 'auto' | 'wasmtime' | 'v8';
  /** The sandboxes in which the processes of engines are made. */
  readonly sandboxes: Sandboxes;
  /** The directory below which lie the files that engines read; see `chooseStagingDirectory`. */
  readonly stagingDirectory: string;
  /** The presence of the workers that share that directory; left out where there is no other worker. */
  readonly presence?: Presence;
  /** The path at which `npm run build:wasmtime` puts the addon. */
  readonly addonPath: string;
  /** Calls that run at the same time. */
  readonly capacity: number;
  /** The memory of all instances together, MiB. */
  readonly memoryMiB: number;
  /** Compiled modules that are kept on disk, MiB. */
  readonly cacheMiB: number;
  /** An engine that nobody uses so long after it was found to work goes, until somebody does, ms; 30 s by default. */
  readonly unusedMs?: number;
  readonly logger: Logger;
}
