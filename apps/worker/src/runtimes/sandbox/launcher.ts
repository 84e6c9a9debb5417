import { PilumError, RuntimeError } from '@pilum/core/errors/pilum-error.ts';
import { DEFAULT_DISK_READ_MIBPS } from '@pilum/core/schemas/artifact-spec.ts';
import type { Walls } from '@pilum/core/spec/walls.ts';
import type { Logger } from 'pino';
import type { LaunchedProcess } from '../contract/launched-process.ts';
import { OVERHEADS } from '../contract/overheads.ts';
import type { Places, Program } from '../contract/program.ts';
import type { Cgroup, Weight } from './cgroup/cgroup.ts';
import { cgroupName } from './cgroup/detect.ts';
import { type LaunchPlan, launch } from './launch.ts';
import { type Own, placesOf, planLaunch, type Wanted } from './launch-plan.ts';
import type { Machine } from './machine.ts';
import type { NetworkLease } from './network/networks.ts';
import type { SandboxProbe } from './probe.ts';
import { wallsOf } from './walls.ts';

export type WorkingSandbox = Extract<SandboxProbe, { ok: true }>;

export interface LauncherDeps {
  readonly machine: Machine;
  /** The sandbox that works here; null where instances run without one. */
  readonly sandbox: WorkingSandbox | null;
  readonly workerId: string;
  readonly logger: Logger;
}

/** Makes the processes of instances, each with a uid and a cgroup of its own where this machine has them. */
export class Launcher {
  readonly machine: Machine;
  readonly #deps: LauncherDeps;

  constructor(deps: LauncherDeps) {
    this.machine = deps.machine;
    this.#deps = deps;
  }

  /** Whether what it launches makes only the system calls of a list. */
  get isFiltered(): boolean {
    return this.#deps.sandbox !== null && this.#deps.sandbox.filter !== null;
  }

  get isSandboxed(): boolean {
    return this.#deps.sandbox !== null;
  }

  /** The walls around what it launches; see {@link wallsOf}. */
  walls(freezeAfterMs: number): Walls {
    return wallsOf(this.machine.cgroups, this.#deps.sandbox, freezeAfterMs);
  }

  placesFor(wanted: Pick<Wanted, 'codeDirectory' | 'layers' | 'interpreter'>): Places {
    return placesOf(this.machine, wanted, this.#deps.sandbox);
  }

  /** Plans how the process would be made, to the letter, but for whose it is. */
  planFor(wanted: Wanted, program: Program): Omit<LaunchPlan, Own> {
    return planLaunch(this.machine, wanted, program, this.#deps.sandbox);
  }

  /**
   * @param id unique on this worker; the cgroup's name ends with it
   * @throws RuntimeError `RUNTIME_UNAVAILABLE`, InstanceError `INSTANCE_START_FAILED` for texts that cannot be arguments;
   *   nothing is left then
   */
  async launch(
    wanted: Wanted,
    program: Program,
    id: string,
    weight?: Weight,
  ): Promise<{ process: LaunchedProcess; cgroup: Cgroup | null }> {
    const { machine, workerId, logger } = this.#deps;
    const { users, cgroups } = machine;
    // Before anything is taken: it may be refused.
    const plan = this.planFor(wanted, program);
    const uid = users?.take() ?? null;
    if (users !== null && uid === null) {
      throw new RuntimeError('RUNTIME_UNAVAILABLE', { message: 'This worker has as many instances as it has uids.' });
    }
    let network: NetworkLease | null = null;
    const release = () => {
      if (uid !== null) users?.release(uid);
      network?.release();
    };
    try {
      if (plan.isRelayed) network = await this.#networkFor(wanted);
      const { memoryMiB, cpu, pids, diskReadMiBps } = wanted.limits;
      const overhead = OVERHEADS[program.kind];
      const limits = {
        memoryMiB: memoryMiB + overhead.memoryMiB,
        cpu,
        pids: pids + overhead.pids,
        diskReadMiBps: diskReadMiBps ?? DEFAULT_DISK_READ_MIBPS,
      };
      const name = cgroupName(machine.worker, workerId, id);
      const cgroup = (await cgroups?.create(name, weight === undefined ? limits : { ...limits, weight })) ?? null;
      const freezes = cgroups?.freezes ?? false;
      const entering = network === null ? {} : { entering: network.entering(uid) };
      const launched = await launch({ ...plan, uid, cgroup, freezes, ...entering }, machine.pipes, logger);
      void launched.ended.then(release);
      // Nothing gets out of its network any more, nor will.
      network?.onLost(() => launched.terminate(0));
      return { process: network === null ? launched : { ...launched, network }, cgroup };
    } catch (error) {
      release();
      if (error instanceof PilumError) throw error;
      const message = `The process could not be made: ${error instanceof Error ? error.message : String(error)}`;
      throw new RuntimeError('RUNTIME_UNAVAILABLE', { message, cause: error });
    }
  }

  /** Returns a network with what is open from the start. @throws RuntimeError `RUNTIME_UNAVAILABLE` */
  async #networkFor({ opens }: Wanted): Promise<NetworkLease> {
    const { networks } = this.#deps.machine;
    if (networks === null || !this.isSandboxed) {
      throw new RuntimeError('RUNTIME_UNAVAILABLE', {
        message: 'This worker closes no network: it runs functions without a sandbox (PILUM_ISOLATION=none).',
      });
    }
    const lease = await networks.lease();
    try {
      if (opens !== undefined) await lease.open(opens);
      return lease;
    } catch (error) {
      lease.release();
      throw error;
    }
  }
}
