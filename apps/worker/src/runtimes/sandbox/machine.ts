import { randomUUID } from 'node:crypto';
import { release } from 'node:os';
import { DEFAULT_DISK_READ_MIBPS } from '@pilum/core/schemas/artifact-spec.ts';
import { type Owner, readOwner } from '../../ownership/owner.ts';
import type { HostLayout } from './bubblewrap.ts';
import { type CgroupDriver, CONTROLLERS } from './cgroup/cgroup.ts';
import { cgroupName, detectCgroups } from './cgroup/detect.ts';
import { CgroupOrphans } from './cgroup/orphans.ts';
import { readHostLayout } from './host-layout.ts';
import { Interpreters } from './interpreters/interpreters.ts';
import { Networks } from './network/networks.ts';
import type { SandboxesOptions } from './options.ts';
import { Pipes } from './pipes.ts';
import { probeSandbox, type SandboxProbe } from './probe.ts';
import { readInheritedDescriptors } from './proc.ts';
import { type PythonProbe, probePython } from './python.ts';
import type { ProcessCounting } from './rlimits.ts';
import { findScheduler } from './scheduler.ts';
import { type StagedFiles, stageFiles } from './staging.ts';
import { UserSlots } from './user-slots.ts';

/** The properties and abilities of this machine, found out once, and our files on it. */
export interface Machine {
  readonly worker: Owner;
  readonly layout: HostLayout;
  readonly staged: StagedFiles;
  readonly python: PythonProbe;
  /** Interpreters for functions that name one. */
  readonly interpreters: Interpreters;
  readonly pipes: Pipes;
  readonly cgroups: CgroupDriver | null;
  readonly orphans: CgroupOrphans | null;
  readonly counting: ProcessCounting;
  /** Goes before the command of every instance. */
  readonly scheduler: readonly string[];
  /** Uids for instances; null where the worker is not root, and they run as what it is. */
  readonly users: UserSlots | null;
  /** The networks that are relayed; null where there are none, because nothing closes an instance in. */
  readonly networks: Networks | null;
  /** The descriptors above 2 that every child of this process gets. */
  readonly inheritedDescriptors: readonly number[];
}

/** Limits of the relay of all networks: its connections hold a few buffers each. */
const RELAY_LIMITS = { memoryMiB: 1024, cpu: 2, pids: 64, diskReadMiBps: DEFAULT_DISK_READ_MIBPS };

/** Finds out about the machine, stages our files and removes what dead workers left. */
export async function surveyMachine(options: SandboxesOptions): Promise<Machine> {
  const { logger, workerId } = options;
  const [worker, layout, staged, { python, interpreters }, cgroups, inheritedDescriptors, scheduler] =
    await Promise.all([
      readOwner(),
      readHostLayout(),
      stageOurs(options),
      findInterpreters(options),
      detectCgroups(logger),
      readInheritedDescriptors(),
      findScheduler(),
    ]);
  const orphans = cgroups === null ? null : new CgroupOrphans(cgroups, logger);
  await orphans?.remove();
  const isRoot = process.getuid?.() === 0;
  const users = isRoot ? new UserSlots(workerId) : null;
  return {
    worker,
    layout,
    staged,
    python,
    interpreters,
    pipes: new Pipes(),
    cgroups,
    orphans,
    counting: countingOf(options.isolation, isRoot),
    scheduler,
    users,
    networks: networksOf(options, { worker, cgroups, users, staged }),
    inheritedDescriptors,
  };
}

async function findInterpreters(
  options: SandboxesOptions,
): Promise<{ python: PythonProbe; interpreters: Interpreters }> {
  const python = await probePython(options.pythonPath);
  const interpreters = await Interpreters.find({ ...options, python, interpreters: options.interpreters ?? 'none' });
  return { python, interpreters };
}

function networksOf(
  { isolation, relay, stagingDirectory, workerId, logger }: SandboxesOptions,
  { worker, cgroups, users, staged }: Pick<Machine, 'worker' | 'cgroups' | 'users' | 'staged'>,
): Networks | null {
  if (isolation === 'none' || relay === undefined) return null;
  const cgroup = async () =>
    (await cgroups?.create(cgroupName(worker, workerId, `relay-${randomUUID()}`), RELAY_LIMITS)) ?? null;
  return new Networks({ stagingDirectory, nodePath: staged.node, users, cgroup, settings: relay, logger });
}

/** Puts our files where instances find them; where they lay before, they lie again. */
export async function stageOurs({
  stagingDirectory,
  nodePath,
  stageBootstraps,
}: SandboxesOptions): Promise<StagedFiles> {
  return await stageFiles(stagingDirectory, nodePath, (await stageBootstraps?.(stagingDirectory)) ?? null);
}

/** Finds out whether a sandbox works here, now: an operator may have changed a setting since the last look. */
export async function probeMachine(machine: Machine): Promise<SandboxProbe> {
  const uid = machine.users?.take() ?? null;
  try {
    return await probeSandbox(machine.layout, uid === null ? null : { uid }, machine.staged.filter);
  } finally {
    if (uid !== null) machine.users?.release(uid);
  }
}

function countingOf(isolation: 'sandbox' | 'none', isRoot: boolean): ProcessCounting {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  if (isolation === 'sandbox' && (major > 5 || (major === 5 && minor >= 14))) return 'namespace';
  return isRoot ? 'own-uid' : 'shared-uid';
}

/** The note on a machine without sandbox and cgroup: nothing holds a process that has left its session. */
const OUTLIVES =
  'where this worker is killed, processes that functions have started live on: no cgroup can be made that would end them';

/** Returns the limits that an instance has here, and notes on those that it has not. */
export function limitsOf(
  machine: Pick<Machine, 'cgroups' | 'inheritedDescriptors'>,
  isolation: 'sandbox' | 'none',
): { limits: string[]; notes: string[] } {
  const { cgroups } = machine;
  const inherited = machine.inheritedDescriptors.map(
    (fd) =>
      `descriptor ${fd}, which the worker was started with, is open in every instance: close it before the worker starts`,
  );
  if (cgroups === null) {
    const how = 'start it where it owns a cgroup, for example with "systemd-run --user --scope -p Delegate=yes"';
    return {
      limits: ['rlimits'],
      notes: [
        `no cgroup can be made: CPU is not limited, memory and processes only by rlimits (${how})`,
        ...(isolation === 'none' ? [OUTLIVES] : []),
        ...inherited,
      ],
    };
  }
  const missing = CONTROLLERS.filter((controller) => !cgroups.controllers.has(controller));
  return {
    limits: [cgroups.label, 'rlimits'],
    notes: [...missing.map((controller) => `no cgroup limits ${controller}`), ...inherited],
  };
}
