import { InstanceError, RequestError, RuntimeError } from '@pilum/core/errors/pilum-error.ts';
import type { RuntimeStatus } from '@pilum/core/schemas/worker.ts';
import type { RunnableVersion, Runtime, RuntimeInstance, StartOptions } from '../contract/runtime.ts';
import { HandlerInstance } from '../protocols/handler/handler-instance.ts';
import { BridgeSockets, removeOrphanSockets } from '../protocols/http/bridged-dialer.ts';
import { StdioInstance } from '../protocols/stdio/stdio-instance.ts';
import type { LaunchedProcess } from '../sandbox/launch.ts';
import { baseEnvironment, handlerProgram } from '../sandbox/launch-plan.ts';
import type { Launcher } from '../sandbox/launcher.ts';
import { limitsOf, type Machine } from '../sandbox/machine.ts';
import type { ProcessRuntimeOptions } from '../sandbox/options.ts';
import { Sandboxes } from '../sandbox/sandboxes.ts';
import { removeUnfinished } from '../sandbox/staging.ts';
import { removeOrphanSlots } from './prewarm/code-slot.ts';
import { ProcessPrewarm } from './prewarm/process-prewarm.ts';
import { startServer } from './start-server.ts';

const DEFAULT_ENTRIES = { node: 'index.mjs#default', python: 'main.py#handler' } as const;

/**
 * The process runtime: every instance is a process of this machine, in a sandbox of its own.
 * @param sandboxes those of the worker, where another runtime of it makes processes as well
 */
export function createProcessRuntime(options: ProcessRuntimeOptions, sandboxes = new Sandboxes(options)): Runtime {
  return new ProcessRuntime(options, sandboxes);
}

class ProcessRuntime implements Runtime {
  readonly kind = 'process';
  readonly capabilities = { protocols: ['handler', 'stdio', 'http'], streaming: true } as const;
  readonly prewarm: ProcessPrewarm | null;
  readonly preparer = null;
  readonly #options: ProcessRuntimeOptions;
  readonly #instances = new Set<RuntimeInstance>();
  readonly #starting = new Set<Promise<unknown>>();
  readonly #sockets = new BridgeSockets();
  readonly #closing = new AbortController();
  readonly #sandboxes: Sandboxes;

  constructor(options: ProcessRuntimeOptions, sandboxes: Sandboxes) {
    this.#options = options;
    this.#sandboxes = sandboxes;
    const { prewarm, stagingDirectory, logger } = options;
    const launcher = () => sandboxes.launcher();
    this.prewarm = prewarm === 0 ? null : new ProcessPrewarm({ count: prewarm, stagingDirectory, launcher, logger });
  }

  async check(): Promise<RuntimeStatus> {
    const { isolation } = this.#options;
    const status = { kind: this.kind, isolation } as const;
    try {
      const machine = await this.#sandboxes.machine();
      const { limits, notes } = limitsOf(machine, isolation);
      if (isolation === 'none') {
        notes.unshift(
          'NO ISOLATION: functions run as plain processes that see this machine, its files and its network',
        );
      } else {
        const probe = await this.#sandboxes.probe();
        if (!probe.ok) return { ...status, available: false, limits: [], notes: [probe.problem] };
        notes.push(...probe.notes);
      }
      if (!machine.python.ok) notes.push(`functions in Python are refused: ${machine.python.problem}`);
      return { ...status, available: true, limits, notes };
    } catch (error) {
      this.#options.logger.error({ error }, 'the process runtime cannot work');
      const why = error instanceof Error ? error.message : String(error);
      return { ...status, available: false, limits: [], notes: [why] };
    }
  }

  async start(runnable: RunnableVersion, { instanceId, signal }: StartOptions): Promise<RuntimeInstance> {
    if (this.#closing.signal.aborted) throw closed();
    const started = this.#start(runnable, instanceId, AbortSignal.any([signal, this.#closing.signal]));
    this.#starting.add(started);
    try {
      const instance = await started;
      this.#instances.add(instance);
      void instance.ended.then(() => this.#instances.delete(instance));
      return instance;
    } finally {
      this.#starting.delete(started);
    }
  }

  async removeOrphans(): Promise<void> {
    const { stagingDirectory, presence } = this.#options;
    await Promise.all([
      this.#sandboxes.removeOrphans(),
      removeUnfinished(stagingDirectory, presence),
      removeOrphanSlots(stagingDirectory, presence),
      removeOrphanSockets(presence),
    ]);
  }

  async close(): Promise<void> {
    this.#closing.abort(closed());
    await Promise.allSettled(this.#starting);
    const graceMs = this.#options.killGraceMs;
    const stopped = [...this.#instances].map((instance) => instance.stop({ graceMs }));
    await Promise.all([...stopped, this.prewarm?.close()]);
    await this.#sockets.close();
  }

  async #start(runnable: RunnableVersion, instanceId: string, signal: AbortSignal): Promise<RuntimeInstance> {
    const { version, codeDirectory, layers } = runnable;
    const { spec } = version;
    this.#admit(runnable, await this.#sandboxes.machine());
    const launcher = await this.#sandboxes.launcher();
    if (signal.aborted) {
      const message = 'The start was aborted before the instance was ready.';
      throw new InstanceError('INSTANCE_START_FAILED', { message, cause: signal.reason });
    }
    if (spec.protocol === 'handler') return await this.#startHandler(launcher, runnable, instanceId, signal);
    this.prewarm?.makeRoom();
    if (spec.protocol === 'http') return await startServer(launcher, this.#sockets, runnable, { instanceId, signal });
    return new StdioInstance(instanceId, runnable, async (env) => {
      const program = {
        kind: 'command',
        env,
        command: () => spec.command ?? [],
        stdin: 'pipe',
        channel: false,
      } as const;
      const { process } = await launcher.launch({ limits: spec.limits, codeDirectory, layers }, program, instanceId);
      return process;
    });
  }

  async #startHandler(
    launcher: Launcher,
    runnable: RunnableVersion,
    instanceId: string,
    signal: AbortSignal,
  ): Promise<RuntimeInstance> {
    const { spec, code } = runnable.version;
    const language = spec.language ?? 'node';
    const places = launcher.placesFor(runnable);
    if (places.codeDirectory === null) {
      throw new InstanceError('INSTANCE_START_FAILED', { message: 'A handler needs code, and this version has none.' });
    }
    const launched =
      (await this.prewarm?.take(launcher, runnable)) ?? (await this.#launchHandler(launcher, runnable, instanceId));
    this.prewarm?.makeRoom();
    const instance = new HandlerInstance(instanceId, runnable, launched);
    await instance.load(
      {
        entry: spec.entry ?? code?.fileName ?? DEFAULT_ENTRIES[language],
        env: { ...baseEnvironment(places), ...spec.env },
        codeDirectory: places.codeDirectory,
        layers: places.layers.map(({ directory }) => directory),
        limits: { outputBytes: spec.limits.outputMiB * 1024 * 1024 },
      },
      signal,
    );
    return instance;
  }

  async #launchHandler(launcher: Launcher, runnable: RunnableVersion, instanceId: string): Promise<LaunchedProcess> {
    const { language, limits } = runnable.version.spec;
    const program = handlerProgram(launcher.machine, language ?? 'node', limits.memoryMiB);
    const { codeDirectory, layers } = runnable;
    const { process } = await launcher.launch({ limits, codeDirectory, layers }, program, instanceId);
    return process;
  }

  /** Refuses what this worker does not run. */
  #admit(runnable: RunnableVersion, machine: Machine): void {
    const { protocol, language, limits, command } = runnable.version.spec;
    if (!this.capabilities.protocols.some((known) => known === protocol)) {
      throw new RequestError('NOT_IMPLEMENTED', { message: `The process runtime has no protocol ${protocol} yet.` });
    }
    if (protocol !== 'handler' && command === undefined) {
      throw new InstanceError('INSTANCE_START_FAILED', { message: `The protocol ${protocol} needs a command.` });
    }
    if (protocol === 'handler' && language === 'python' && !machine.python.ok) {
      const message = `This worker runs no functions in Python: ${machine.python.problem}.`;
      throw new RuntimeError('RUNTIME_UNAVAILABLE', { message });
    }
    if (limits.network === 'host' && !this.#options.allowHostNetwork) {
      throw new RequestError('FORBIDDEN', { message: 'This worker gives no function the network of its host.' });
    }
  }
}

const closed = () => new RuntimeError('RUNTIME_UNAVAILABLE', { message: 'The worker is stopping.' });
