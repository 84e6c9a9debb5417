import { InstanceError, PilumError, RequestError, RuntimeError } from '@pilum/core/errors/pilum-error.ts';
import type { RuntimeStatus } from '@pilum/core/schemas/worker.ts';
import type { Runtime, RuntimeInstance, Snapshot, StartOptions } from '../runtime.ts';
import { cgroupName } from './cgroup/detect.ts';
import { HandlerInstance } from './handler-instance.ts';
import { type LaunchedProcess, launch } from './launch.ts';
import { baseEnvironment, interpreterCommand, type Program, placesOf, planLaunch } from './launch-plan.ts';
import { limitsOf, type Machine, probeMachine, surveyMachine } from './machine.ts';
import type { ProcessRuntimeOptions } from './options.ts';
import { OVERHEADS } from './rlimits.ts';
import type { SandboxProbe } from './sandbox/probe.ts';
import { removeUnfinished } from './staging.ts';
import { StdioInstance } from './stdio-instance.ts';

type WorkingSandbox = Extract<SandboxProbe, { ok: true }>;

const DEFAULT_ENTRIES = { node: 'index.mjs#default', python: 'main.py#handler' } as const;

/** The process runtime: every instance is a process of this machine, in a sandbox of its own. */
export function createProcessRuntime(options: ProcessRuntimeOptions): Runtime {
  return new ProcessRuntime(options);
}

class ProcessRuntime implements Runtime {
  readonly kind = 'process';
  readonly capabilities = { protocols: ['handler', 'stdio'], streaming: false } as const;
  readonly #options: ProcessRuntimeOptions;
  readonly #instances = new Set<RuntimeInstance>();
  readonly #starting = new Set<Promise<unknown>>();
  readonly #closing = new AbortController();
  #machine: Promise<Machine> | null = null;
  #sandbox: WorkingSandbox | null = null;

  constructor(options: ProcessRuntimeOptions) {
    this.#options = options;
  }

  async check(): Promise<RuntimeStatus> {
    const { isolation } = this.#options;
    const status = { kind: this.kind, isolation } as const;
    try {
      const machine = await this.#survey();
      const { limits, notes } = limitsOf(machine, isolation);
      if (isolation === 'none') {
        notes.unshift(
          'NO ISOLATION: functions run as plain processes that see this machine, its files and its network',
        );
      } else {
        const probe = await probeMachine(machine);
        this.#sandbox = probe.ok ? probe : null;
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

  async start(snapshot: Snapshot, { instanceId, signal }: StartOptions): Promise<RuntimeInstance> {
    if (this.#closing.signal.aborted) throw closed();
    const started = this.#start(snapshot, instanceId, AbortSignal.any([signal, this.#closing.signal]));
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
    const machine = await this.#machine?.catch(() => null); // `check` says what is wrong with it
    await Promise.all([machine?.orphans?.remove(), removeUnfinished(this.#options.stagingDirectory)]);
  }

  async close(): Promise<void> {
    this.#closing.abort(closed());
    await Promise.allSettled(this.#starting);
    const graceMs = this.#options.killGraceMs;
    await Promise.all([...this.#instances].map((instance) => instance.stop({ graceMs })));
  }

  async #start(snapshot: Snapshot, instanceId: string, signal: AbortSignal): Promise<RuntimeInstance> {
    const { spec } = snapshot.version;
    const machine = await this.#survey();
    this.#admit(snapshot, machine);
    const sandbox = this.#options.isolation === 'none' ? null : await this.#workingSandbox(machine);
    signal.throwIfAborted();
    if (spec.protocol === 'stdio') {
      return new StdioInstance(instanceId, snapshot, (env) =>
        this.#launch(machine, snapshot, sandbox, instanceId, {
          kind: 'command',
          env,
          command: () => spec.command ?? [],
          stdin: 'pipe',
          channel: false,
        }),
      );
    }
    return await this.#startHandler(machine, snapshot, sandbox, instanceId, signal);
  }

  async #startHandler(
    machine: Machine,
    snapshot: Snapshot,
    sandbox: WorkingSandbox | null,
    instanceId: string,
    signal: AbortSignal,
  ): Promise<RuntimeInstance> {
    const { spec, code } = snapshot.version;
    const language = spec.language ?? 'node';
    const places = placesOf(machine, snapshot, sandbox);
    if (places.codeDirectory === null) {
      throw new InstanceError('INSTANCE_START_FAILED', { message: 'A handler needs code, and this version has none.' });
    }
    const pythonPath = machine.python.ok ? machine.python.path : '';
    const launched = await this.#launch(machine, snapshot, sandbox, instanceId, {
      kind: language,
      env: {},
      command: (at) => interpreterCommand(language, at, { memoryMiB: spec.limits.memoryMiB, pythonPath }),
      stdin: 'ignore',
      channel: true,
    });
    const instance = new HandlerInstance(instanceId, snapshot, launched);
    await instance.load(
      {
        entry: spec.entry ?? code?.fileName ?? DEFAULT_ENTRIES[language],
        env: { ...baseEnvironment(places), ...spec.env },
        codeDirectory: places.codeDirectory,
        limits: { outputBytes: spec.limits.outputMiB * 1024 * 1024 },
      },
      signal,
    );
    return instance;
  }

  /** Refuses what this worker does not run. */
  #admit(snapshot: Snapshot, machine: Machine): void {
    const { protocol, language, limits, command } = snapshot.version.spec;
    if (protocol !== 'handler' && protocol !== 'stdio') {
      throw new RequestError('NOT_IMPLEMENTED', { message: `The process runtime has no protocol ${protocol} yet.` });
    }
    if (protocol === 'stdio' && command === undefined) {
      throw new InstanceError('INSTANCE_START_FAILED', { message: 'The protocol stdio needs a command.' });
    }
    if (protocol === 'handler' && language === 'python' && !machine.python.ok) {
      const message = `This worker runs no functions in Python: ${machine.python.problem}.`;
      throw new RuntimeError('RUNTIME_UNAVAILABLE', { message });
    }
    if (limits.network === 'host' && !this.#options.allowHostNetwork) {
      throw new RequestError('FORBIDDEN', { message: 'This worker gives no function the network of its host.' });
    }
  }

  async #launch(
    machine: Machine,
    snapshot: Snapshot,
    sandbox: WorkingSandbox | null,
    instanceId: string,
    program: Program,
  ): Promise<LaunchedProcess> {
    const { workerId, logger } = this.#options;
    const { users, cgroups } = machine;
    const uid = users?.take() ?? null;
    if (users !== null && uid === null) {
      throw new RuntimeError('RUNTIME_UNAVAILABLE', { message: 'This worker has as many instances as it has uids.' });
    }
    const release = () => {
      if (uid !== null) users?.release(uid);
    };
    try {
      const { memoryMiB, cpu, pids } = snapshot.version.spec.limits;
      const limits = { memoryMiB, cpu, pids: pids + OVERHEADS[program.kind].pids };
      const name = cgroupName(machine.worker, workerId, instanceId);
      const cgroup = (await cgroups?.create(name, limits)) ?? null;
      const plan = planLaunch(machine, snapshot, program, { sandbox, uid, cgroup });
      const launched = await launch(plan, logger);
      void launched.ended.then(release);
      return launched;
    } catch (error) {
      release();
      if (error instanceof PilumError) throw error;
      const message = `The process could not be made: ${error instanceof Error ? error.message : String(error)}`;
      throw new RuntimeError('RUNTIME_UNAVAILABLE', { message, cause: error });
    }
  }

  /** @throws RuntimeError `SANDBOX_UNAVAILABLE` */
  async #workingSandbox(machine: Machine): Promise<WorkingSandbox> {
    if (this.#sandbox !== null) return this.#sandbox;
    const probe = await probeMachine(machine);
    if (!probe.ok) throw new RuntimeError('SANDBOX_UNAVAILABLE', { message: `No sandbox: ${probe.problem}` });
    this.#sandbox = probe;
    return probe;
  }

  async #survey(): Promise<Machine> {
    this.#machine ??= surveyMachine(this.#options);
    try {
      return await this.#machine;
    } catch (error) {
      // What was in the way may be gone at the next try.
      this.#machine = null;
      throw error;
    }
  }
}

const closed = () => new RuntimeError('RUNTIME_UNAVAILABLE', { message: 'The worker is stopping.' });
