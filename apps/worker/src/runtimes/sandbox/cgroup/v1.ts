import { writeFileSync } from 'node:fs';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  bytesOf,
  type Cgroup,
  type CgroupDriver,
  type CgroupLimits,
  type Controller,
  CPU_PERIOD_US,
  cpuQuotaUs,
  socketBytes,
} from './cgroup.ts';
import { counterIn, freezeV2, killProcesses, processesOf, removeCgroupDirectory } from './files.ts';

/** 1024 is the kernel's own. */
const SHARES = { normal: 1024, low: 256 } as const;

/** The file of a memory cgroup that limits what its TCP and UDP sockets hold in buffers. */
export const SOCKETS_FILE = 'memory.kmem.tcp.limit_in_bytes';
/** The file that limits what is read of a disk. */
export const READS_FILE = 'blkio.throttle.read_bps_device';

/** The places at which cgroups of version 1 are made. */
export interface TreesV1 {
  /** For each controller, the directory that instances' cgroups are made in. */
  readonly trees: ReadonlyMap<Controller, string>;
  /**
   * The directory of version 2 in which instances are frozen, which mostly stands beside controllers of version 1; null where there
   * is none. The freezer of version 1 is not used: a process that it has frozen cannot be killed, so that the container of a worker
   * that was killed would stay for ever.
   */
  readonly freezer: string | null;
  /** The disks whose readers are limited, `major:minor`. */
  readonly disks: readonly string[];
  /** Tells whether the kernel limits the buffers of sockets: it does so apart from memory, and newer ones may not. */
  readonly limitsSockets: boolean;
}

/** Cgroups of version 1: one tree for each controller, and an instance has a directory in each of them. */
export function cgroupV1(places: TreesV1): CgroupDriver {
  const { trees, freezer, limitsSockets } = places;
  const all = [...trees.values(), ...(freezer === null ? [] : [freezer])];
  return {
    label: 'cgroup-v1',
    controllers: new Set(trees.keys()),
    freezes: freezer !== null,
    limitsSockets,
    async create(name, limits) {
      await Promise.all([
        ...[...trees].map(async ([controller, tree]) => {
          const directory = join(tree, name);
          await mkdir(directory);
          await writeLimits(controller, directory, limits, places);
        }),
        freezer === null ? undefined : mkdir(join(freezer, name)),
      ]);
      return groupOf(places, name);
    },
    async list() {
      const names = await Promise.all(
        all.map(async (tree) => {
          const entries = await readdir(tree, { withFileTypes: true });
          return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
        }),
      );
      return [...new Set(names.flat())];
    },
    find: (name) => groupOf(places, name),
  };
}

function groupOf({ trees, freezer }: TreesV1, name: string): Cgroup {
  const frozen = freezer === null ? null : join(freezer, name);
  const directories = [...trees.values()].map((tree) => join(tree, name));
  if (frozen !== null) directories.push(frozen);
  const memory = trees.get('memory');
  const pids = trees.get('pids');
  const cpu = trees.get('cpu');
  return {
    setWeight(weight) {
      if (cpu !== undefined) writeFileSync(join(cpu, name, 'cpu.shares'), String(SHARES[weight]));
    },
    setFrozen(isFrozen) {
      if (frozen !== null) freezeV2(frozen, isFrozen);
    },
    async add(pid) {
      await Promise.all(directories.map((directory) => writeFile(join(directory, 'cgroup.procs'), String(pid))));
    },
    async oomKills() {
      return memory === undefined ? 0 : await counterIn(join(memory, name, 'memory.oom_control'), 'oom_kill');
    },
    async kill() {
      // No more forks: otherwise a bomb may outrun the loop that kills it.
      if (pids !== undefined) await writeFile(join(pids, name, 'pids.max'), '0').catch(() => {});
      const all = await Promise.all(directories.map(processesOf));
      const running = [...new Set(all.flat())];
      killProcesses(running);
      return running.length === 0;
    },
    async remove() {
      await Promise.all(directories.map(removeCgroupDirectory));
    },
  };
}

async function writeLimits(
  controller: Controller,
  directory: string,
  limits: CgroupLimits,
  { disks, limitsSockets }: TreesV1,
): Promise<void> {
  const write = (file: string, value: number | string) => writeFile(join(directory, file), String(value));
  switch (controller) {
    case 'memory': {
      await write('memory.limit_in_bytes', bytesOf(limits.memoryMiB));
      // Memory and swap together, so: no swap. This limit may not be below the one above, hence after it; the file is there
      // only where the kernel counts swap.
      await write('memory.memsw.limit_in_bytes', bytesOf(limits.memoryMiB)).catch(() => {});
      if (limitsSockets) await write(SOCKETS_FILE, socketBytes(limits.memoryMiB));
      return;
    }
    case 'pids':
      return await write('pids.max', limits.pids);
    case 'cpu':
      await write('cpu.cfs_period_us', CPU_PERIOD_US);
      await write('cpu.cfs_quota_us', cpuQuotaUs(limits.cpu));
      if (limits.weight !== undefined) await write('cpu.shares', SHARES[limits.weight]);
      return;
    case 'io':
      // The file takes one disk at a time.
      for (const disk of disks) await write(READS_FILE, `${disk} ${bytesOf(limits.diskReadMiBps)}`);
      return;
  }
}
