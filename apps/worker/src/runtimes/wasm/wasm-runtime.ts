import { join, relative } from 'node:path';
import { abortable } from '@pilum/core/async/abortable.ts';
import { InstanceError, PilumError, RequestError, RuntimeError } from '@pilum/core/errors/pilum-error.ts';
import type { RuntimeStatus } from '@pilum/core/schemas/worker.ts';
import { builtProtocols } from '@pilum/core/spec/runtimes.ts';
import type { Walls } from '@pilum/core/spec/walls.ts';
import { placeOfLayer } from '../contract/layers.ts';
import type { RunnableVersion, Runtime, RuntimeInstance, StartOptions } from '../contract/runtime.ts';
import { RuntimeBase, startAborted } from '../contract/runtime-base.ts';
import { limitsOf } from '../sandbox/machine.ts';
import type { CompiledModules } from './compiled-modules.ts';
import type { EngineLayer } from './engine/engine.ts';
import type { HelloMessage } from './engine/wire.ts';
import { compiledKey, type LiveEngine } from './engines.ts';
import { EnginesByNamespace } from './engines-by-namespace.ts';
import { type ModulePlan, ModulePlans } from './module-plan.ts';
import type { WasmRuntimeOptions } from './options.ts';
import { WasmInstance, type WasmInstanceDeps } from './wasm-instance.ts';

/** A slot has nothing to flush: its engine ends with it. */
const CLOSE_GRACE_MS = 0;

/** The WebAssembly runtime: an instance is a slot in an engine, and each of its tasks gets a memory of its own. */
export function createWasmRuntime(options: WasmRuntimeOptions): Runtime {
  return new WasmRuntime(options);
}

class WasmRuntime extends RuntimeBase {
  readonly kind = 'wasm';
  readonly capabilities = { protocols: builtProtocols('wasm'), streaming: true };
  readonly #options: WasmRuntimeOptions;
  readonly #namespaces: EnginesByNamespace;
  readonly #plans = new ModulePlans();

  constructor(options: WasmRuntimeOptions) {
    super(CLOSE_GRACE_MS);
    this.#options = options;
    this.#namespaces = new EnginesByNamespace(options);
  }

  async check(): Promise<RuntimeStatus> {
    const { isolation } = this.#options.sandboxes;
    const status = { kind: this.kind, isolation } as const;
    try {
      const { hello, note } = await this.#namespaces.find();
      const { limits, notes } = limitsOf(await this.#options.sandboxes.machine(), isolation);
      if (isolation === 'none') {
        notes.unshift(
          'NO ISOLATION: an engine is a plain process; what breaks out of WebAssembly is the worker’s user',
        );
      }
      const launcher = await this.#options.sandboxes.launcher();
      if (launcher.isFiltered) limits.push('seccomp');
      if (note !== null) notes.push(note);
      const engine = `${hello.engine} ${hello.version}`;
      const walls = wallsOfModules(launcher.walls(0), hello.engine);
      return { ...status, available: true, engine, limits, walls, notes };
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      return { ...status, available: false, limits: [], notes: [why] };
    }
  }

  async anticipate(runnable: RunnableVersion): Promise<void> {
    admit(runnable);
    const plan = await this.#plans.of(runnable);
    const { namespace } = runnable;
    const { engines, compiled, release } = this.#namespaces.hold(namespace);
    try {
      const { hello } = await engines.current();
      if (hello.engine === 'wasmtime')
        await compiled.obtain(compiledKey({ namespace, digest: plan.digest }, hello), plan.path);
    } finally {
      release();
    }
  }

  protected override async begin(
    runnable: RunnableVersion,
    { instanceId, signal }: StartOptions,
  ): Promise<RuntimeInstance> {
    const starting = this.#start(runnable, instanceId);
    try {
      return await abortable(starting, signal);
    } catch (error) {
      // A module that is compiled now is of use to the next start; only the slot is given back.
      starting.then((instance) => instance.stop({ graceMs: 0 })).catch(() => undefined);
      if (!signal.aborted) throw error;
      throw signal.reason instanceof RuntimeError ? signal.reason : startAborted(signal.reason);
    }
  }

  async removeOrphans(): Promise<void> {
    await Promise.all([
      this.#options.sandboxes.removeOrphans(),
      this.#namespaces.files.removeOrphans(this.#options.presence),
    ]);
  }

  protected override async release(): Promise<void> {
    await this.#namespaces.close();
  }

  async #start(runnable: RunnableVersion, instanceId: string): Promise<WasmInstance> {
    admit(runnable);
    const plan = await this.#plans.of(runnable);
    const key = [plan.digest, plan.memoryBytes, JSON.stringify(plan.entry)].join();
    const own = this.#namespaces.hold(runnable.namespace);
    try {
      const engine = await own.engines.current();
      const load = (into: LiveEngine) => this.#load(key, plan, into, runnable.namespace, own.compiled);
      const { release } = await engine.modules.hold(key, () => load(engine));
      const layersIn = (live: LiveEngine) => layersFor(runnable, live, this.#namespaces.files.layers);
      const alone: WasmInstanceDeps['alone'] = (ending, use) =>
        own.engines.alone(runnable.version.spec.limits.memoryMiB, ending, async (other) => {
          await load(other);
          return await use(other.process, layersIn(other));
        });
      return new WasmInstance(instanceId, {
        runnable,
        engine: engine.process,
        key,
        plan,
        layers: layersIn(engine),
        release: () => {
          release();
          own.release();
        },
        alone,
      });
    } catch (error) {
      own.release();
      if (error instanceof PilumError) throw error;
      const why = error instanceof Error ? error.message : String(error);
      throw new InstanceError('INSTANCE_START_FAILED', { message: `The module cannot be run: ${why}.`, cause: error });
    }
  }

  /** Loads a module into an engine, compiled ahead where the engine wants it so. */
  async #load(
    key: string,
    { digest, path, entry, memoryBytes }: ModulePlan,
    engine: LiveEngine,
    namespace: string,
    compiled: CompiledModules,
  ): Promise<void> {
    const load = (name: string) =>
      engine.process.prepare(key, { path: join(engine.directory, name), entry, memoryBytes });
    if (engine.hello.engine === 'wasmtime') {
      await load(await compiled.obtain(compiledKey({ namespace, digest }, engine.hello), path));
      return;
    }
    const { files } = this.#namespaces;
    const name = await files.placeModule(path);
    try {
      await load(name);
    } finally {
      await files.removeModule(name);
    }
  }
}

/**
 * The walls around a module, which has no system call, no file but its layers', no network, no process and no time between its
 * calls: what is said of the process around it holds for all modules of a worker together.
 */
function wallsOfModules(around: Walls, engine: HelloMessage['engine']): Walls {
  return {
    ...around,
    cpu: engine === 'v8' ? 'V8 runs the modules, and limits.cpu does not hold for them' : null,
    memory: null,
    pids: null,
    network: null,
    sockets: null,
    'disk-size': null,
    'disk-reads': null,
    freezer: null,
    watching: null,
  };
}

/** The layers of a version as an engine sees them. */
function layersFor({ layers }: RunnableVersion, engine: LiveEngine, onDisk: string): EngineLayer[] {
  return layers.map(({ id, directory }) => ({
    at: placeOfLayer(id),
    directory: join(engine.layers, relative(onDisk, directory)),
  }));
}

/** Refuses what is not run here. */
function admit({ version: { spec } }: RunnableVersion): void {
  if (spec.protocol !== 'wasi') {
    throw new RequestError('NOT_IMPLEMENTED', { message: `The wasm runtime has no protocol ${spec.protocol}.` });
  }
  if (spec.limits.network !== 'none') {
    throw new RequestError('FORBIDDEN', { message: 'The wasm runtime gives no module a network.' });
  }
}
