import { writeFileSync } from 'node:fs';
import { access, constants, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type Docker from 'dockerode';
import { answered } from './engine.ts';

/**
 * Finds the file by which this worker freezes a container without the Engine, which takes 20 ms for it at each end: that of the
 * container's cgroup of version 2, where the Engine is on this machine and the worker may write there. A process that is frozen so
 * can be killed, so that the Engine's own end of the container needs no thaw.
 * @returns null where there is no such file
 * @throws whatever the client throws; Error where the container has ended
 */
export async function findFreezerFile(container: Docker.Container): Promise<string | null> {
  const { State } = await answered(container.inspect());
  if (!State.Running) throw new Error('the container has ended');
  try {
    const cgroups = await readFile(`/proc/${State.Pid}/cgroup`, 'utf8');
    const path = /^0::(\/.*)$/m.exec(cgroups)?.[1];
    // A number of another machine, or of another namespace of processes, is some other process here, or none.
    if (path === undefined || !path.includes(container.id)) return null;
    const mount = unifiedMountIn(await readFile('/proc/self/mountinfo', 'utf8'));
    if (mount === null) return null;
    const file = join(mount, path, 'cgroup.freeze');
    await access(file, constants.W_OK);
    return file;
  } catch {
    return null;
  }
}

/** Freezes or thaws by such a file. @throws Error where the kernel refuses, or the container has ended */
export function writeFreezer(file: string, isFrozen: boolean): void {
  // `r+` so that the file is never made where it is missing.
  writeFileSync(file, isFrozen ? '1' : '0', { flag: 'r+' });
}

/** Returns where all of the hierarchy of version 2 is mounted, from a text like that of /proc/self/mountinfo. */
function unifiedMountIn(mountinfo: string): string | null {
  for (const line of mountinfo.split('\n')) {
    const [before = '', after = ''] = line.split(' - ');
    const [, , , root, mountPoint] = before.split(' ');
    if (after.startsWith('cgroup2 ') && root === '/' && mountPoint !== undefined) return mountPoint;
  }
  return null;
}
