import { createRequire } from 'node:module';
import type {
  Engine,
  EngineCall,
  EngineOutcome,
  Entry,
  FailureKind,
  ModuleSource,
  OnWrite,
  StreamName,
} from './engine.ts';

/** The exports of packages/wasmtime/src/lib.rs. */
export interface WasmtimeAddon {
  interfaceNumber(): number;
  version(): string;
  compatibility(): string;
  compile(wasm: Uint8Array): Buffer;
  readonly WasmtimeEngine: new (maxCalls: number, onEvent: (event: AddonEvent) => void) => AddonEngine;
}

interface AddonEngine {
  load(path: string): LoadedModule;
  /** Returns what there is to say already; the rest comes as events. */
  call(module: LoadedModule, options: AddonCall, payload: Uint8Array): AddonEvent[];
  abort(id: number): void;
  grant(id: number, bytes: number): void;
}

interface LoadedModule {
  readonly isLoadedModule: true;
}

interface AddonCall {
  readonly id: number;
  readonly kind: Entry['kind'];
  readonly name: string;
  readonly allocator: string;
  readonly args: readonly string[];
  /** Names and values in turn. */
  readonly env: readonly string[];
  /** The layers: in turn the path at which the guest finds one, and the directory where it is. */
  readonly layers: readonly string[];
  readonly memoryBytes: number;
  readonly outputBytes: number;
  readonly cpu: number;
  readonly streamCredit: number;
  readonly timeoutMs: number;
}

interface AddonEvent {
  readonly id: number;
  readonly kind: 'ok' | 'exit' | FailureKind | StreamName;
  readonly code: number;
  readonly message: string;
  readonly body: Buffer;
  readonly tookUs: number;
}

/** The interface with which packages/wasmtime/src/lib.rs has to have been built. */
const INTERFACE = 2;

/** Loads the addon. @throws Error where it is not there, or was not built for this machine and this release */
export function loadAddon(path: string): WasmtimeAddon {
  const addon = createRequire(import.meta.url)(path) as Partial<WasmtimeAddon>;
  if (addon.interfaceNumber?.() === INTERFACE) return addon as WasmtimeAddon;
  throw new Error('wasmtime was built for another release: run "npm run build:wasmtime" again');
}

/** wasmtime, through our addon: each call runs on a thread of its own, and its fiber can be ended at any time. */
export class WasmtimeEngine implements Engine {
  readonly name = 'wasmtime';
  readonly version: string;
  readonly compatibility: string;
  readonly #engine: AddonEngine;
  readonly #onWrite: OnWrite;
  readonly #modules = new Map<string, { readonly module: LoadedModule; readonly entry: Entry }>();
  readonly #running = new Map<number, (outcome: EngineOutcome) => void>();

  /** @param maxCalls calls that run at the same time */
  constructor(addon: WasmtimeAddon, maxCalls: number, onWrite: OnWrite) {
    this.version = addon.version();
    this.compatibility = addon.compatibility();
    this.#onWrite = onWrite;
    this.#engine = new addon.WasmtimeEngine(maxCalls, (event) => this.#onEvent(event));
  }

  async prepare(key: string, { path, entry }: ModuleSource): Promise<void> {
    if (!this.#modules.has(key)) this.#modules.set(key, { module: this.#engine.load(path), entry });
  }

  run(call: EngineCall): Promise<EngineOutcome> {
    return this.#call(call);
  }

  invoke(call: EngineCall): Promise<EngineOutcome> {
    return this.#call(call);
  }

  abort(id: number): void {
    this.#engine.abort(id);
  }

  grant(id: number, bytes: number): void {
    this.#engine.grant(id, bytes);
  }

  release(key: string): void {
    this.#modules.delete(key);
  }

  async close(): Promise<void> {
    for (const id of this.#running.keys()) this.#engine.abort(id);
  }

  #call(call: EngineCall): Promise<EngineOutcome> {
    const prepared = this.#modules.get(call.key);
    if (prepared === undefined)
      return Promise.resolve({ kind: 'error', message: `nothing is prepared as ${call.key}` });
    const { module, entry } = prepared;
    const { id, args, memoryBytes, outputBytes, cpu, streamCredit, timeoutMs } = call;
    const env = Object.entries(call.env).flat();
    const layers = call.layers.flatMap((layer) => [layer.at, layer.directory]);
    const name = entry.kind === 'command' ? '' : entry.name;
    const allocator = entry.kind === 'bytes' ? entry.allocator : '';
    const { promise, resolve } = Promise.withResolvers<EngineOutcome>();
    this.#running.set(id, resolve);
    const limits = { memoryBytes, outputBytes, cpu, streamCredit, timeoutMs };
    const options = { id, kind: entry.kind, name, allocator, args, env, layers, ...limits };
    try {
      for (const event of this.#engine.call(module, options, call.payload)) this.#onEvent(event);
    } catch (error) {
      this.#settle(id, { kind: 'error', message: error instanceof Error ? error.message : String(error) });
    }
    return promise;
  }

  #onEvent({ id, kind, code, message, body, tookUs }: AddonEvent): void {
    if (kind === 'stdout' || kind === 'stderr' || kind === 'chunk') this.#onWrite(id, kind, body);
    else if (kind === 'ok') this.#settle(id, { kind, body, tookUs });
    else if (kind === 'exit') this.#settle(id, { kind, code });
    else this.#settle(id, { kind, message });
  }

  #settle(id: number, outcome: EngineOutcome): void {
    const resolve = this.#running.get(id);
    this.#running.delete(id);
    resolve?.(outcome);
  }
}
