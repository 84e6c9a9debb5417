import type { Logger } from 'pino';
import type { Presence } from '../../ownership/presence.ts';
import type { Sandboxes } from '../sandbox/sandboxes.ts';

export interface WasmRuntimeOptions {
  /** `auto`: wasmtime where its addon can be loaded, else V8. */
  readonly engine: 'auto' | 'wasmtime' | 'v8';
  /** What makes the processes that engines run in. */
  readonly sandboxes: Sandboxes;
  /** What engines read lies below it; see `chooseStagingDirectory`. */
  readonly stagingDirectory: string;
  /** Of the workers that share that directory; left out where there is no other. */
  readonly presence?: Presence;
  /** Where `npm run build:wasmtime` puts the addon. */
  readonly addonPath: string;
  /** Calls that run at the same time. */
  readonly capacity: number;
  /** Of all instances together, MiB. */
  readonly memoryMiB: number;
  /** Compiled modules that are kept on disk, MiB. */
  readonly cacheMiB: number;
  /** An engine that nobody uses so long after it was found to work goes, until somebody does, ms; 30 s by default. */
  readonly unusedMs?: number;
  readonly logger: Logger;
}
