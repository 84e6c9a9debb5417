import { writeFileSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  bytesOf,
  type Cgroup,
  type CgroupDriver,
  CONTROLLERS,
  type Controller,
  CPU_PERIOD_US,
  cpuQuotaUs,
} from './cgroup.ts';
import { counterIn, freezeV2, killProcesses, processesOf, removeCgroupDirectory } from './files.ts';

/** 100 is the kernel's own. */
const WEIGHTS = { normal: 100, low: 25 } as const;

/** The file that limits what is read of a disk. */
export const READS_FILE = 'io.max';

/** The abilities of a kernel with cgroups of version 2 beside its controllers. */
export interface AbilitiesV2 {
  /** Tells whether it freezes them, as it does since 5.2. */
  readonly freezes: boolean;
  /** Tells whether it counts buffers of sockets as memory. */
  readonly limitsSockets: boolean;
  /** The disks whose readers it limits, `major:minor`. */
  readonly disks: readonly string[];
}

/**
 * Cgroups of version 2: one tree, in which an instance has one directory.
 * @param tree the directory that instances' cgroups are made in; its own `cgroup.subtree_control` has the controllers
 */
export function cgroupV2(tree: string, controllers: ReadonlySet<Controller>, machine: AbilitiesV2): CgroupDriver {
  const { freezes, limitsSockets, disks } = machine;
  return {
    label: 'cgroup-v2',
    controllers,
    freezes,
    // They are memory like any other, unless the kernel was told not to count them.
    limitsSockets: limitsSockets && controllers.has('memory'),
    async create(name, limits) {
      const directory = join(tree, name);
      await mkdir(directory);
      const write = (file: string, value: string | number) => writeFile(join(directory, file), String(value));
      if (controllers.has('memory')) {
        await write('memory.max', bytesOf(limits.memoryMiB));
        // Missing where the kernel counts no swap.
        await write('memory.swap.max', 0).catch(() => {});
        // All of it or nothing: half an instance is of no use.
        await write('memory.oom.group', 1);
      }
      if (controllers.has('pids')) await write('pids.max', limits.pids);
      if (controllers.has('cpu')) await write('cpu.max', `${cpuQuotaUs(limits.cpu)} ${CPU_PERIOD_US}`);
      if (controllers.has('io')) {
        // The file takes one disk at a time.
        for (const disk of disks) await write(READS_FILE, `${disk} rbps=${bytesOf(limits.diskReadMiBps)}`);
      }
      const group = groupAt(directory, controllers, freezes);
      if (limits.weight !== undefined) group.setWeight(limits.weight);
      return group;
    },
    async list() {
      const entries = await readdir(tree, { withFileTypes: true });
      return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
    },
    find: (name) => groupAt(join(tree, name), controllers, freezes),
  };
}

/**
 * Lets the children of `directory` have controllers. The kernel allows it only where no process is in `directory`
 * itself, unless that is the root of the hierarchy; `alone` says that its one process is this one, which then moves
 * into a child of its own first.
 * @returns the controllers that its children have now
 */
export async function enableControllers(directory: string, alone: boolean): Promise<Set<Controller>> {
  const offered = words(await readFile(join(directory, 'cgroup.controllers'), 'utf8'));
  const control = join(directory, 'cgroup.subtree_control');
  const before = words(await readFile(control, 'utf8'));
  const missing = CONTROLLERS.filter((controller) => offered.has(controller) && !before.has(controller));
  if (missing.length > 0) {
    if (alone) {
      const own = join(directory, 'pilum-worker');
      await mkdir(own, { recursive: true });
      await writeFile(join(own, 'cgroup.procs'), String(process.pid));
    }
    await writeFile(control, missing.map((controller) => `+${controller}`).join(' '));
  }
  return new Set(CONTROLLERS.filter((controller) => offered.has(controller)));
}

const words = (text: string) => new Set(text.trim().split(/\s+/));

function groupAt(directory: string, controllers: ReadonlySet<Controller>, freezes: boolean): Cgroup {
  return {
    setWeight(weight) {
      if (controllers.has('cpu')) writeFileSync(join(directory, 'cpu.weight'), String(WEIGHTS[weight]));
    },
    setFrozen(isFrozen) {
      if (freezes) freezeV2(directory, isFrozen);
    },
    async add(pid) {
      await writeFile(join(directory, 'cgroup.procs'), String(pid));
    },
    async oomKills() {
      return await counterIn(join(directory, 'memory.events'), 'oom_kill');
    },
    async kill() {
      const running = await processesOf(directory);
      if (running.length === 0) return true;
      try {
        // All at once, forks under way included; since Linux 5.14. `r+` so that it is never made where it is missing.
        await writeFile(join(directory, 'cgroup.kill'), '1', { flag: 'r+' });
      } catch {
        killProcesses(running);
      }
      return false;
    },
    async remove() {
      await removeCgroupDirectory(directory);
    },
  };
}
