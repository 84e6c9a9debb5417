import { constants } from 'node:fs';
import { access, mkdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { logEvent } from '@pilum/core/log/log-events.ts';
import type { Logger } from 'pino';
import { labelOf, type Owner, readOwner } from '../../../ownership/owner.ts';
import { type CgroupDriver, CONTROLLERS, type Controller } from './cgroup.ts';
import { readDisks } from './disks.ts';
import { processesOf } from './files.ts';
import { cgroupV1, READS_FILE as READS_V1, SOCKETS_FILE } from './v1.ts';
import { cgroupV2, enableControllers, READS_FILE as READS_V2 } from './v2.ts';

/** The directory that holds all of Pilum's cgroups, in that of whoever starts a worker. */
const OWN_DIRECTORY = 'pilum';
/** The name of a controller in a hierarchy of version 1, where it has another one there. */
const NAMES_V1: Readonly<Record<Controller, string>> = { memory: 'memory', pids: 'pids', cpu: 'cpu', io: 'blkio' };

export interface CgroupMount {
  readonly version: 1 | 2;
  /** The part of the hierarchy that is mounted there: `/`, or a container's own part. */
  readonly root: string;
  readonly mountPoint: string;
  readonly controllers: readonly string[];
}

/** The cgroup hierarchies in a text like that of /proc/self/mountinfo. */
export function parseCgroupMounts(mountinfo: string): CgroupMount[] {
  return mountinfo.split('\n').flatMap((line): CgroupMount[] => {
    const [before, after] = line.split(' - ');
    const [type, , superOptions] = after?.split(' ') ?? [];
    const [, , , root, mountPoint] = before?.split(' ') ?? [];
    if (root === undefined || mountPoint === undefined) return [];
    if (type === 'cgroup2') return [{ version: 2, root, mountPoint, controllers: [] }];
    if (type === 'cgroup') return [{ version: 1, root, mountPoint, controllers: superOptions?.split(',') ?? [] }];
    return [];
  });
}

/**
 * Reads where a process is in each hierarchy, from a text like that of /proc/self/cgroup: by controller, '' for version 2.
 */
export function parseOwnCgroups(text: string): Map<string, string> {
  const paths = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, controllers, ...path] = line.split(':');
    if (controllers === undefined) continue;
    for (const controller of controllers.split(',')) paths.set(controller, path.join(':'));
  }
  return paths;
}

/** The directory of a cgroup under a mount that may show only a part of the hierarchy. */
export function directoryOf(mount: CgroupMount, path: string): string {
  const inside = relative(mount.root, path);
  return inside.startsWith('..') ? mount.mountPoint : join(mount.mountPoint, inside);
}

/** Finds a way to make cgroups with limits on this machine; null where there is none. */
export async function detectCgroups(logger: Logger): Promise<CgroupDriver | null> {
  try {
    const mounts = parseCgroupMounts(await readFile('/proc/self/mountinfo', 'utf8'));
    const own = parseOwnCgroups(await readFile('/proc/self/cgroup', 'utf8'));
    return (await detectV1(mounts, own)) ?? (await detectV2(mounts, own));
  } catch (error) {
    logEvent(logger, 'cgroups-refused', { err: error });
    return null;
  }
}

async function detectV1(mounts: readonly CgroupMount[], own: Map<string, string>): Promise<CgroupDriver | null> {
  const trees = new Map<Controller, string>();
  for (const controller of CONTROLLERS) {
    const name = NAMES_V1[controller];
    const mount = mounts.find((m) => m.version === 1 && m.controllers.includes(name));
    if (mount === undefined) continue;
    const tree = join(directoryOf(mount, own.get(name) ?? '/'), OWN_DIRECTORY);
    if (await canMakeCgroups(tree)) trees.set(controller, tree);
  }
  const io = trees.get('io');
  const disks = io === undefined ? [] : await limitedDisks(io, READS_V1, (disk) => `${disk} 0`);
  if (disks.length === 0) trees.delete('io');
  if (trees.size === 0) return null;
  const memory = trees.get('memory');
  return cgroupV1({
    trees,
    freezer: await detectFreezer(mounts, own),
    disks,
    limitsSockets: memory !== undefined && (await canMakeCgroups(memory, SOCKETS_FILE)),
  });
}

/** Finds where cgroups can be frozen beside controllers of version 1. */
async function detectFreezer(mounts: readonly CgroupMount[], own: Map<string, string>): Promise<string | null> {
  const unified = mounts.find(({ version }) => version === 2);
  if (unified === undefined) return null;
  const directory = join(directoryOf(unified, own.get('') ?? '/'), OWN_DIRECTORY);
  return (await canMakeCgroups(directory, 'cgroup.freeze')) ? directory : null;
}

async function detectV2(mounts: readonly CgroupMount[], own: Map<string, string>): Promise<CgroupDriver | null> {
  const mount = mounts.find((m) => m.version === 2);
  if (mount === undefined) return null;
  let directory = directoryOf(mount, own.get('') ?? '/');
  // An earlier enableControllers has put this process there.
  if (directory.endsWith('/pilum-worker')) directory = join(directory, '..');
  // Our own cgroup where it was delegated to us; else, for root, the top, which alone may hold processes as well.
  for (const base of new Set([directory, mount.mountPoint])) {
    try {
      await access(base, constants.W_OK);
      const inBase = await processesOf(base);
      await enableControllers(base, inBase.length === 1 && inBase[0] === process.pid);
      const tree = join(base, OWN_DIRECTORY);
      await mkdir(tree, { recursive: true });
      const controllers = await enableControllers(tree, false);
      if (controllers.size > 0 && (await canMakeCgroups(tree))) {
        const disks = controllers.has('io') ? await limitedDisks(tree, READS_V2, (disk) => `${disk} rbps=max`) : [];
        if (disks.length === 0) controllers.delete('io');
        return cgroupV2(tree, controllers, {
          freezes: await canMakeCgroups(tree, 'cgroup.freeze'),
          limitsSockets: !/\bcgroup\.memory=\S*nosocket/.test(await readFile('/proc/cmdline', 'utf8').catch(() => '')),
          disks,
        });
      }
    } catch {
      // Not delegated, or other processes are in it: the next.
    }
  }
  return null;
}

/** The disks whose readers a cgroup of this tree can be limited in: the kernel takes no number of another device. */
async function limitedDisks(tree: string, file: string, noLimit: (disk: string) => string): Promise<string[]> {
  const disks = await readDisks();
  const taken: string[] = [];
  await withProbe(tree, async (probe) => {
    for (const disk of disks) {
      const isTaken = await writeFile(join(probe, file), noLimit(disk), { flag: 'r+' }).then(
        () => true,
        () => false,
      );
      if (isTaken) taken.push(disk);
    }
  }).catch(() => undefined);
  return taken;
}

/** A directory can be made in it, and this file of its written: by default the one that puts a process there. */
async function canMakeCgroups(tree: string, file = 'cgroup.procs'): Promise<boolean> {
  return await withProbe(tree, (probe) => access(join(probe, file), constants.W_OK)).then(
    () => true,
    () => false,
  );
}

/** Makes a cgroup for a look at it. @throws what cannot be done */
async function withProbe(tree: string, look: (probe: string) => Promise<void>): Promise<void> {
  const probe = join(tree, `${labelOf(await readOwner())}.probe`);
  try {
    await mkdir(tree, { recursive: true });
    await mkdir(probe, { recursive: true });
    await look(probe);
  } finally {
    await rmdir(probe).catch(() => {});
  }
}

/** `<owner>.<worker>.<instance>`: says whose it is, and so whether that one lives. */
export function cgroupName(owner: Owner, workerId: string, instanceId: string): string {
  const clean = (part: string) => part.replace(/[^A-Za-z0-9_-]/g, '_');
  return `${labelOf(owner)}.${clean(workerId)}.${clean(instanceId)}`;
}
