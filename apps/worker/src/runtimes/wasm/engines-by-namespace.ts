import { RuntimeError } from '@pilum/core/errors/pilum-error.ts';
import { CompiledModules } from './compiled-modules.ts';
import { Compiler } from './compiler.ts';
import { EngineFiles } from './engine-files.ts';
import { type EngineFound, Engines } from './engines.ts';
import type { WasmRuntimeOptions } from './options.ts';
import { Turns } from './turns.ts';

const MEBIBYTE = 1_048_576;
/** The time that one module may take to be compiled, ms: the largest that are known take some 15 s of one processor. */
const COMPILE_LIMIT_MS = 120_000;
/** Modules that are compiled at the same time: each may take gigabytes. */
const COMPILED_AT_ONCE = 2;
/** Namespaces without an instance whose engine is kept all the same, so that their next start is fast. */
const MOST_UNUSED = 4;

/** Everything that runs and compiles the modules of one namespace, and of no other. */
export interface NamespaceEngines {
  readonly engines: Engines;
  readonly compiled: CompiledModules;
}

interface Entry extends NamespaceEngines {
  readonly compiler: Compiler;
  /** Instances, and what is done ahead for them. */
  users: number;
}

/**
 * The engines and compilers of a worker, apart for each namespace: what a module does to the process that runs or compiles it
 * reaches modules of its own namespace only, and so does that process's death. What was compiled for one is not used for another.
 */
export class EnginesByNamespace {
  readonly files: EngineFiles;
  readonly #options: WasmRuntimeOptions;
  readonly #turns = new Turns(COMPILED_AT_ONCE);
  /** The entries by namespace, those used last at the end. */
  readonly #entries = new Map<string, Entry>();
  /** The entry in which it was found out what works here, until a namespace comes and has it. */
  #unassigned: Entry | null = null;
  /** The ends of those that are not kept. */
  readonly #leaving = new Set<Promise<void>>();
  #isClosed = false;

  constructor(options: WasmRuntimeOptions) {
    this.#options = options;
    this.files = new EngineFiles(options.stagingDirectory, options.addonPath);
  }

  /**
   * Finds out which engine works here, in one that no namespace has where there is none.
   * @throws what `Engines.find` and {@link hold} throw
   */
  async find(): Promise<EngineFound> {
    const [first] = this.#entries.values();
    if (first !== undefined) return await first.engines.find();
    this.#unassigned ??= this.#make();
    return await this.#unassigned.engines.find();
  }

  /**
   * Returns those of a namespace, which are kept until `release` is called.
   * @throws RuntimeError `RUNTIME_UNAVAILABLE` where the worker is stopping
   */
  hold(namespace: string): NamespaceEngines & { release(): void } {
    const entry = this.#entries.get(namespace) ?? this.#unassigned ?? this.#make();
    if (entry === this.#unassigned) this.#unassigned = null;
    this.#entries.delete(namespace);
    this.#entries.set(namespace, entry);
    entry.users++;
    let isReleased = false;
    const release = () => {
      if (isReleased) return;
      isReleased = true;
      entry.users--;
      this.#shrink();
    };
    return { engines: entry.engines, compiled: entry.compiled, release };
  }

  /** Ends all of them and waits. May be awaited twice. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const all = [...this.#entries.values(), ...(this.#unassigned === null ? [] : [this.#unassigned])];
    await Promise.all([...all.map(end), ...this.#leaving]);
  }

  #shrink(): void {
    const unused = [...this.#entries].filter(([, { users }]) => users === 0);
    for (const [namespace, entry] of unused.slice(0, Math.max(0, unused.length - MOST_UNUSED))) {
      this.#entries.delete(namespace);
      const leaving = end(entry).finally(() => this.#leaving.delete(leaving));
      this.#leaving.add(leaving);
    }
  }

  #make(): Entry {
    if (this.#isClosed) throw new RuntimeError('RUNTIME_UNAVAILABLE', { message: 'The worker is stopping.' });
    const { cacheMiB, logger } = this.#options;
    const engines = new Engines(this.#options, this.files);
    const compiler = new Compiler({
      launch: (id) => engines.launchCompiler(id),
      turns: this.#turns,
      limitMs: COMPILE_LIMIT_MS,
    });
    const compiled = new CompiledModules({
      files: this.files,
      limitBytes: cacheMiB * MEBIBYTE,
      compile: (path) => compiler.compile(path),
      logger,
    });
    return { engines, compiler, compiled, users: 0 };
  }
}

async function end({ engines, compiler }: Entry): Promise<void> {
  await Promise.all([engines.close(), compiler.close()]);
}
