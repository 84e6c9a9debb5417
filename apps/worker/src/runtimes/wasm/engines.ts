import { createHash, randomUUID } from 'node:crypto';
import { availableParallelism, cpus } from 'node:os';
import { join } from 'node:path';
import { abortable } from '@pilum/core/async/abortable.ts';
import { RuntimeError } from '@pilum/core/errors/pilum-error.ts';
import { logEvent } from '@pilum/core/log/log-events.ts';
import { MOST_DISK_READ_MIBPS } from '@pilum/core/schemas/artifact-spec.ts';
import type { BlobRef } from '@pilum/core/schemas/refs.ts';
import type { LaunchedProcess } from '../contract/launched-process.ts';
import type { Places } from '../contract/program.ts';
import type { Weight } from '../sandbox/cgroup/cgroup.ts';
import type { Wanted } from '../sandbox/launch-plan.ts';
import type { HelloMessage } from './engine/wire.ts';
import type { EngineFiles } from './engine-files.ts';
import { EngineProcess } from './engine-process.ts';
import type { WasmRuntimeOptions } from './options.ts';
import { PreparedModules } from './prepared-modules.ts';

/** The life of one engine. */
export interface LiveEngine {
  readonly process: EngineProcess;
  readonly hello: HelloMessage;
  readonly modules: PreparedModules;
  /** The files' directory, as it sees it. */
  readonly directory: string;
  /** The directory of all layers, as it sees it. */
  readonly layers: string;
  /** The operator's note on how the engine was chosen; null for nothing. */
  readonly note: string | null;
}

const UNUSED_MS = 30_000;
/** The time in which an engine has to be up, ms. */
const START_LIMIT_MS = 15_000;
/** Calls that are about to end have their place beside those that run. */
const ENDING_CALLS = 16;
/** The memory for the engine itself, and for payloads and results on their way, MiB. */
const OVERHEAD_MIB = 512;
/** A compiler may have so much, MiB, whatever the module. */
const COMPILER_MIB = 2048;
const THREADS_BESIDE_CALLS = 64;
const MAX_FILE_MIB = 4096;

/** The path at which an engine finds the directory of all layers. A module gets those of its own, and knows of no other. */
const LAYERS_IN_SANDBOX = '/pilum/layers';

/** The facts of an engine that works here. */
export type EngineFound = Pick<LiveEngine, 'hello' | 'note'>;

/** Makes the processes of engines, and of compilers, for one namespace, and keeps one engine alive. */
export class Engines {
  readonly files: EngineFiles;
  readonly #options: WasmRuntimeOptions;
  #current: Promise<LiveEngine> | null = null;
  /** The facts of the last engine. */
  #found: EngineFound | null = null;
  #isUsed = false;
  /** The end of an engine that nobody used. */
  #leaving: Promise<void> | undefined;
  /** The engine that has a single call, for which others wait. */
  #alone: LiveEngine | null = null;
  #aloneTurn: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(options: WasmRuntimeOptions, files: EngineFiles) {
    this.#options = options;
    this.files = files;
  }

  /**
   * The engine that lives, or a new one. One that was used stays.
   * @throws RuntimeError `RUNTIME_UNAVAILABLE`, `SANDBOX_UNAVAILABLE`
   */
  current(): Promise<LiveEngine> {
    this.#isUsed = true;
    return this.#live();
  }

  /**
   * Finds which engine works here; a worker that has no modules to run finds it out once, and keeps none.
   * @throws what `current` throws
   */
  async find(): Promise<EngineFound> {
    if (this.#current === null && this.#found !== null && !this.#isUsed) return this.#found;
    return await this.#live();
  }

  /**
   * Starts one more engine of the same kind, for one call of one module. There is one at a time, and whoever wants another
   * waits.
   * @param use has it, and it is ended then
   * @throws what `current` throws; what `use` throws
   */
  async alone<T>(memoryMiB: number, signal: AbortSignal, use: (engine: LiveEngine) => Promise<T>): Promise<T> {
    const before = this.#aloneTurn;
    const turn = Promise.withResolvers<void>();
    this.#aloneTurn = before.then(() => turn.promise);
    try {
      await abortable(before, signal);
      const { hello } = await this.current();
      const engine = await this.#start(hello.engine, null, memoryMiB);
      const end = () => engine.process.terminate();
      signal.addEventListener('abort', end, { once: true });
      try {
        if (this.#isClosed) throw new RuntimeError('RUNTIME_UNAVAILABLE', { message: 'The worker is stopping.' });
        signal.throwIfAborted();
        this.#alone = engine;
        return await use(engine);
      } finally {
        signal.removeEventListener('abort', end);
        this.#alone = null;
        await engine.process.close();
      }
    } finally {
      turn.resolve();
    }
  }

  /** Makes a process that compiles. */
  async launchCompiler(id: string): Promise<LaunchedProcess> {
    const { compiler, addon } = await this.files.place();
    return await this.#launch(id, COMPILER_MIB, 'low', [compiler, addon ?? ''], []);
  }

  /** Ends the engine and waits. May be awaited twice. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const engine = await this.#current?.catch(() => null);
    await Promise.all([engine?.process.close(), this.#alone?.process.close(), this.#leaving]);
  }

  #live(): Promise<LiveEngine> {
    if (this.#isClosed) {
      return Promise.reject(new RuntimeError('RUNTIME_UNAVAILABLE', { message: 'The worker is stopping.' }));
    }
    this.#current ??= this.#begin();
    return this.#current;
  }

  #begin(): Promise<LiveEngine> {
    const beginning = this.#choose();
    const forget = () => {
      if (this.#current === beginning) this.#current = null;
    };
    beginning.then(({ process, hello, note }) => {
      this.#found = { hello, note };
      void process.ended.then(forget);
      const timer = setTimeout(() => {
        if (this.#isUsed) return;
        forget();
        this.#leaving = process.close();
      }, this.#options.unusedMs ?? UNUSED_MS);
      timer.unref();
    }, forget);
    return beginning;
  }

  /** wasmtime where it is there and loads, else V8, unless one of them is asked for. */
  async #choose(): Promise<LiveEngine> {
    const { engine, logger } = this.#options;
    const { addon } = await this.files.place();
    if (engine === 'v8') return await this.#start('v8', 'V8 runs the modules, and limits.cpu does not hold for them');
    const how = 'run "npm run build:wasmtime" where cargo is';
    if (addon === null) {
      if (engine === 'auto')
        return await this.#start(
          'v8',
          `V8 runs the modules, and limits.cpu does not hold for them: for wasmtime ${how}`,
        );
      throw new RuntimeError('RUNTIME_UNAVAILABLE', { message: `wasmtime was not built: ${how}.` });
    }
    try {
      return await this.#start('wasmtime', null);
    } catch (error) {
      if (engine !== 'auto' || this.#isClosed) throw error;
      logEvent(logger, 'wasmtime-refused', { err: error });
      const why = error instanceof Error ? error.message : String(error);
      return await this.#start('v8', `V8 runs the modules, as wasmtime does not work here: ${why}`);
    }
  }

  async #start(
    kind: HelloMessage['engine'],
    note: string | null,
    memoryMiB = this.#options.memoryMiB,
  ): Promise<LiveEngine> {
    const { capacity } = this.#options;
    const { main, addon } = await this.files.place();
    const maxCalls = capacity + ENDING_CALLS;
    const command = [main, kind, String(maxCalls), kind === 'wasmtime' ? (addon ?? '') : ''];
    const launcher = await this.#options.sandboxes.launcher();
    const directory = launcher.placesFor({ codeDirectory: this.files.directory, layers: [] }).codeDirectory ?? '';
    const layers = launcher.isSandboxed ? LAYERS_IN_SANDBOX : this.files.layers;
    const id = `wasm-engine-${randomUUID()}`;
    const alsoSees = [{ from: this.files.layers, to: LAYERS_IN_SANDBOX }];
    const launched = await this.#launch(id, memoryMiB + OVERHEAD_MIB, 'normal', command, alsoSees);
    const process = new EngineProcess(launched);
    const timer = setTimeout(() => process.terminate(), START_LIMIT_MS);
    try {
      return { process, hello: await process.hello, modules: new PreparedModules(process), directory, layers, note };
    } catch (error) {
      await process.close();
      const why = error instanceof Error ? error.message : String(error);
      throw new RuntimeError('RUNTIME_UNAVAILABLE', { message: `No engine: ${why}.`, cause: error });
    } finally {
      clearTimeout(timer);
    }
  }

  /** @param args paths from the files' directory, and what is none */
  async #launch(
    id: string,
    memoryMiB: number,
    weight: Weight,
    [program = '', ...args]: string[],
    alsoSees: Wanted['alsoSees'] & {},
  ): Promise<LaunchedProcess> {
    const launcher = await this.#options.sandboxes.launcher();
    const limits = {
      memoryMiB,
      cpu: availableParallelism(),
      pids: 2 * this.#options.capacity + THREADS_BESIDE_CALLS,
      diskMiB: MAX_FILE_MIB,
      outputMiB: 1,
      diskReadMiBps: MOST_DISK_READ_MIBPS,
      network: 'none',
    } as const;
    const inFiles = (places: Places, path: string) => join(places.codeDirectory ?? '', path);
    const { process } = await launcher.launch(
      { limits, codeDirectory: this.files.directory, layers: [], alsoSees },
      {
        kind: 'engine',
        env: {},
        command: (places) => [
          places.node,
          inFiles(places, program),
          ...args.map((arg) => (arg.endsWith('.node') ? inFiles(places, arg) : arg)),
        ],
        stdin: 'ignore',
        channel: true,
      },
      id,
      weight,
    );
    return process;
  }
}

/** Says of a compiled module what it was made of, for what, and whose it is. */
export function compiledKey(ref: BlobRef, { engine, version, compatibility }: HelloMessage): string {
  const { namespace, digest } = ref;
  const processor = cpus()[0]?.model ?? '';
  const of = [namespace, digest, engine, version, compatibility, process.arch, processor];
  return createHash('sha256').update(of.join('\0')).digest('hex');
}
