import { RuntimeError } from '@pilum/core/errors/pilum-error.ts';
import { Launcher, type WorkingSandbox } from './launcher.ts';
import { type Machine, probeMachine, stageOurs, surveyMachine } from './machine.ts';
import type { SandboxesOptions } from './options.ts';
import type { SandboxProbe } from './probe.ts';
import { areStaged } from './staging.ts';

/**
 * The ways in which this machine closes processes in, for all runtimes of a worker that make some: they share it, so that no
 * two of their processes have the same uid.
 */
export class Sandboxes {
  readonly isolation: 'sandbox' | 'none';
  readonly #options: SandboxesOptions;
  #machine: Promise<Machine> | null = null;
  #sandbox: WorkingSandbox | null = null;
  #staging: Promise<unknown> | null = null;

  constructor(options: SandboxesOptions) {
    this.#options = options;
    this.isolation = options.isolation;
  }

  /** The machine, surveyed once. @throws what a survey throws; the next call tries again */
  async machine(): Promise<Machine> {
    this.#machine ??= surveyMachine(this.#options);
    try {
      return await this.#machine;
    } catch (error) {
      // The fault may be gone at the next try.
      this.#machine = null;
      throw error;
    }
  }

  /** Finds out whether a sandbox works here now. There is nothing to find out where none is asked for. */
  async probe(): Promise<SandboxProbe> {
    const probe = await probeMachine(await this.machine());
    this.#sandbox = probe.ok ? probe : null;
    return probe;
  }

  /** Returns what makes processes here. @throws RuntimeError `SANDBOX_UNAVAILABLE` */
  async launcher(): Promise<Launcher> {
    const { workerId, logger } = this.#options;
    const machine = await this.machine();
    await this.#keepStaged(machine);
    const sandbox = this.isolation === 'none' ? null : await this.#workingSandbox();
    return new Launcher({ machine, sandbox, workerId, logger });
  }

  /** Ends what dead workers have left in cgroups; nothing before the first survey. */
  async removeOrphans(): Promise<void> {
    const machine = await this.#machine?.catch(() => null); // `machine` says what is wrong with it
    await machine?.orphans?.remove();
  }

  /** Removes what was made ahead. May be awaited twice; whoever launches after it has it made again. */
  async close(): Promise<void> {
    const machine = await this.#machine?.catch(() => null);
    await Promise.all([machine?.pipes.close(), machine?.networks?.close()]);
  }

  /** Makes our files again where somebody has taken them away. */
  async #keepStaged({ staged }: Machine): Promise<void> {
    if (await areStaged(staged)) return;
    this.#staging ??= stageOurs(this.#options).finally(() => {
      this.#staging = null;
    });
    await this.#staging;
  }

  async #workingSandbox(): Promise<WorkingSandbox> {
    if (this.#sandbox !== null) return this.#sandbox;
    const probe = await this.probe();
    if (!probe.ok) throw new RuntimeError('SANDBOX_UNAVAILABLE', { message: `No sandbox: ${probe.problem}` });
    return probe;
  }
}
