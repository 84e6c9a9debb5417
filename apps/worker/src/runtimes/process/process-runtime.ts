import { InstanceError, RuntimeError } from '@pilum/core/errors/pilum-error.ts';
import { logEvent } from '@pilum/core/log/log-events.ts';
import type { Writable } from '@pilum/core/schemas/artifact-spec.ts';
import { SECRETS_DIRECTORY } from '@pilum/core/schemas/secret.ts';
import type { RuntimeStatus } from '@pilum/core/schemas/worker.ts';
import { RELAYS_NETWORKS } from '@pilum/core/spec/can-run.ts';
import { isRelayed } from '@pilum/core/spec/networks.ts';
import { FreezingInstance } from '../contract/freezing-instance.ts';
import { hasSecretFiles } from '../contract/instance-secrets.ts';
import { NetworkedInstance } from '../contract/networked-instance.ts';
import { ProgramRuntime } from '../contract/program-runtime.ts';
import type { ProgramHost } from '../contract/protocol.ts';
import type { RunnableVersion, Runtime, RuntimeInstance } from '../contract/runtime.ts';
import { removeUnfinished } from '../contract/staged-files.ts';
import { stageBootstraps } from '../protocols/bootstraps.ts';
import { BridgeSockets, removeOrphanSockets } from '../protocols/http/bridged-dialer.ts';
import { protocolsOf } from '../protocols/protocols.ts';
import type { WorkingSandbox } from '../sandbox/launcher.ts';
import { limitsOf } from '../sandbox/machine.ts';
import { Sandboxes } from '../sandbox/sandboxes.ts';
import { wallsOf } from '../sandbox/walls.ts';
import type { ProcessRuntimeOptions } from './options.ts';
import { removeOrphanSlots } from './prewarm/code-slot.ts';
import { ProcessPrewarm } from './prewarm/process-prewarm.ts';
import { ProcessHost } from './process-host.ts';

/**
 * The process runtime: every instance is a process of this machine, in a sandbox of its own.
 * @param sandboxes those of the worker, where another runtime of it makes processes as well
 */
export function createProcessRuntime(
  options: ProcessRuntimeOptions,
  sandboxes = new Sandboxes({ stageBootstraps, ...options }),
): Runtime {
  return new ProcessRuntime(options, sandboxes);
}

class ProcessRuntime extends ProgramRuntime {
  readonly kind = 'process';
  override readonly prewarm: ProcessPrewarm | null;
  protected readonly runsImages = false;
  readonly #options: ProcessRuntimeOptions;
  readonly #sockets = new BridgeSockets();
  readonly #sandboxes: Sandboxes;

  constructor(options: ProcessRuntimeOptions, sandboxes: Sandboxes) {
    super({ ...options, protocols: protocolsOf('process') });
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
      let sandbox: WorkingSandbox | null = null;
      if (isolation === 'none') {
        notes.unshift(
          'NO ISOLATION: functions run as plain processes that see this machine, its files and its network',
        );
      } else {
        const probe = await this.#sandboxes.probe();
        if (!probe.ok) return { ...status, available: false, limits: [], notes: [probe.problem] };
        notes.push(...probe.notes);
        if (probe.filter !== null) limits.push('seccomp');
        sandbox = probe;
      }
      const networks = await machine.networks?.probe();
      if (networks?.ok === true) limits.push(RELAYS_NETWORKS);
      if (networks?.ok === false) notes.push(networks.problem);
      const { python, interpreters } = machine;
      if (!python.ok) notes.push(`functions in Python that name no interpreter are refused: ${python.problem}`);
      notes.push(...interpreters.notes);
      const walls = wallsOf(machine.cgroups, sandbox, this.#options.freezeAfterMs);
      return { ...status, available: true, limits, walls, interpreters: interpreters.infos, notes };
    } catch (error) {
      logEvent(this.#options.logger, 'process-runtime-refused', { err: error });
      const why = error instanceof Error ? error.message : String(error);
      return { ...status, available: false, limits: [], notes: [why] };
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

  protected override async hostFor(runnable: RunnableVersion, instanceId: string): Promise<ProcessHost> {
    const { protocol, language, interpreter, writable } = runnable.version.spec;
    const { python, interpreters } = await this.#sandboxes.machine();
    if (interpreter !== undefined) await interpreters.place(interpreter);
    else if (protocol === 'handler' && language === 'python' && !python.ok) {
      const message = `This worker runs no functions in Python: ${python.problem}.`;
      throw new RuntimeError('RUNTIME_UNAVAILABLE', { message });
    }
    const launcher = await this.#sandboxes.launcher();
    if (writable !== undefined && !launcher.isSandboxed) throw noPlaces(writable);
    if (hasSecretFiles(runnable.version.spec) && !launcher.isSandboxed) throw noSecretFiles();
    return new ProcessHost({ launcher, prewarm: this.prewarm, sockets: this.#sockets }, runnable, instanceId);
  }

  protected override finish(
    launched: RuntimeInstance,
    host: ProgramHost,
    { version }: RunnableVersion,
  ): RuntimeInstance {
    const isCounted = host instanceof ProcessHost && isRelayed(version.spec.limits.network);
    const instance = isCounted ? new NetworkedInstance(launched, () => host.network) : launched;
    const { freezeAfterMs: afterMs, logger } = this.#options;
    const freezer = host instanceof ProcessHost ? host.freezer : null;
    if (freezer === null || afterMs === 0 || version.spec.pool.background === true) return instance;
    return new FreezingInstance(instance, { freezer, afterMs, asksWhileFrozen: true, logger });
  }

  protected override async retire(): Promise<void> {
    await this.prewarm?.close();
  }

  protected override async release(): Promise<void> {
    await Promise.all([this.#sockets.close(), this.#sandboxes.close()]);
  }
}

/** Makes the error of a version with secrets in files where there is no sandbox, and a path is the machine's. */
function noSecretFiles(): InstanceError {
  const message = `This worker runs functions without a sandbox (PILUM_ISOLATION=none), and has no ${SECRETS_DIRECTORY} for this one alone (secrets).`;
  return new InstanceError('INSTANCE_START_FAILED', { message });
}

/** Makes the error of a version that wants places to write where there is no sandbox, and a path is the machine's. */
function noPlaces(writable: Writable): InstanceError {
  const paths = writable.map(({ path }) => path).join(', ');
  const message = `This worker runs functions without a sandbox (PILUM_ISOLATION=none), and has no ${paths} for this one alone (writable).`;
  return new InstanceError('INSTANCE_START_FAILED', { message });
}
