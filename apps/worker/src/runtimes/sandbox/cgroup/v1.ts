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
} from './cgroup.ts';
import { counterIn, killProcesses, processesOf, removeCgroupDirectory } from './files.ts';

/** 1024 is the kernel's own. */
const SHARES = { normal: 1024, low: 256 } as const;

/**
 * Cgroups of version 1: one tree for each controller, and an instance has a directory in each of them.
 * @param trees for each controller, the directory that instances' cgroups are made in
 */
export function cgroupV1(trees: ReadonlyMap<Controller, string>): CgroupDriver {
  return {
    label: 'cgroup-v1',
    controllers: new Set(trees.keys()),
    async create(name, limits) {
      await Promise.all(
        [...trees].map(async ([controller, tree]) => {
          const directory = join(tree, name);
          await mkdir(directory);
          await writeLimits(controller, directory, limits);
        }),
      );
      return groupOf(trees, name);
    },
    async list() {
      const names = await Promise.all(
        [...trees.values()].map(async (tree) => {
          const entries = await readdir(tree, { withFileTypes: true });
          return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
        }),
      );
      return [...new Set(names.flat())];
    },
    find: (name) => groupOf(trees, name),
  };
}

function groupOf(trees: ReadonlyMap<Controller, string>, name: string): Cgroup {
  const directories = [...trees.values()].map((tree) => join(tree, name));
  const memory = trees.get('memory');
  const pids = trees.get('pids');
  const cpu = trees.get('cpu');
  return {
    setWeight(weight) {
      if (cpu !== undefined) writeFileSync(join(cpu, name, 'cpu.shares'), String(SHARES[weight]));
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

async function writeLimits(controller: Controller, directory: string, limits: CgroupLimits): Promise<void> {
  const write = (file: string, value: number) => writeFile(join(directory, file), String(value));
  switch (controller) {
    case 'memory': {
      await write('memory.limit_in_bytes', bytesOf(limits.memoryMiB));
      // Memory and swap together, so: no swap. This limit may not be below the one above, hence after it; the file is there
      // only where the kernel counts swap.
      await write('memory.memsw.limit_in_bytes', bytesOf(limits.memoryMiB)).catch(() => {});
      return;
    }
    case 'pids':
      return await write('pids.max', limits.pids);
    case 'cpu':
      await write('cpu.cfs_period_us', CPU_PERIOD_US);
      await write('cpu.cfs_quota_us', cpuQuotaUs(limits.cpu));
      if (limits.weight !== undefined) await write('cpu.shares', SHARES[limits.weight]);
      return;
  }
}
