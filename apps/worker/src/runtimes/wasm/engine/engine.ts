import type { FunctionType } from '@pilum/core/wasm/module-head.ts';

/** The way in which a module is called. */
export type Entry =
  /** `_start`: the payload is its standard input, what it prints is the result. */
  | { readonly kind: 'command' }
  /** A function of numbers: payload and result are 8 bytes for each, little-endian; see ../numbers.ts. */
  | { readonly kind: 'numbers'; readonly name: string; readonly type: FunctionType }
  /** A function of bytes, with the allocator of its module; see docs/guide/webassembly.md. */
  | { readonly kind: 'bytes'; readonly name: string; readonly allocator: string };

/** A module on disk, as the engine takes it: compiled for wasmtime, as it is for V8. */
export interface ModuleSource {
  readonly path: string;
  readonly entry: Entry;
  /** The size to which the module's memory may grow, bytes. */
  readonly memoryBytes: number;
}

/** The files of a layer, which a guest can read and not change. */
export interface EngineLayer {
  /** The path at which the guest finds the files, `/opt/<layer>`. */
  readonly at: string;
  /** The directory as the engine's process sees it. */
  readonly directory: string;
}

/** A call, in an instance and a memory that are made for it. */
export interface EngineCall {
  /** The caller's; no two calls that run have the same. */
  readonly id: number;
  /** The key of a module that was prepared. */
  readonly key: string;
  readonly payload: Buffer;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly layers: readonly EngineLayer[];
  readonly memoryBytes: number;
  /** Largest result, bytes. */
  readonly outputBytes: number;
  /** Bytes of a command's output that it may write before more is granted; 0 where it is wanted whole, at the end. */
  readonly streamCredit: number;
  /** Processors. */
  readonly cpu: number;
  /** The time from the acceptance of the call to its end, ms. */
  readonly timeoutMs: number;
}

/** The end of a call. */
export type EngineOutcome =
  /** `tookUs`: what it took on its thread, µs, without the way there and back. */
  | { readonly kind: 'ok'; readonly body: Uint8Array; readonly tookUs: number }
  | { readonly kind: 'exit'; readonly code: number }
  | { readonly kind: FailureKind; readonly message: string };

/** `memory`: it failed after it was refused memory. `error`: it was not the guest that failed. */
export const FAILURE_KINDS = ['trap', 'memory', 'output', 'timeout', 'aborted', 'error'] as const;
export type FailureKind = (typeof FAILURE_KINDS)[number];

/** `chunk`: of a command whose output is streamed; the others are its log. */
export const STREAMS = ['stdout', 'stderr', 'chunk'] as const;
export type StreamName = (typeof STREAMS)[number];

/** Hears what a call writes, as it comes. */
export type OnWrite = (id: number, stream: StreamName, bytes: Uint8Array) => void;

/**
 * An engine runs WebAssembly. The order of calls, for each module:
 *
 *     prepare → (run | invoke, grant*, abort)* → release;  and close, once
 */
export interface Engine {
  readonly name: 'wasmtime' | 'v8';
  readonly version: string;
  /** The same for two engines only where one can load what was compiled for the other. */
  readonly compatibility: string;

  /** Makes a module ready to be called. @throws Error where it cannot be run */
  prepare(key: string, source: ModuleSource): Promise<void>;
  /** Calls `_start` of a command. Never fails: what goes wrong is an outcome. */
  run(call: EngineCall): Promise<EngineOutcome>;
  /** Calls the export that the module was prepared for. Never fails: what goes wrong is an outcome. */
  invoke(call: EngineCall): Promise<EngineOutcome>;
  /** Lets a call whose output is streamed write so many bytes more; nothing where there is none. */
  grant(id: number, bytes: number): void;
  /** Ends a call that runs; nothing where there is none. */
  abort(id: number): void;
  /** Forgets a module. Calls that run go on. */
  release(key: string): void;
  /** Ends all calls. May be awaited twice. */
  close(): Promise<void>;
}
