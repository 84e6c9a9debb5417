import { writeFileSync } from 'node:fs';
import { readFile, rmdir } from 'node:fs/promises';
import { join } from 'node:path';

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code;

/** The processes in a cgroup; none where it is gone. */
export async function processesOf(directory: string): Promise<number[]> {
  const text = await readIfThere(join(directory, 'cgroup.procs'));
  return (text ?? '').split('\n').filter(Boolean).map(Number);
}

/** The number that stands after `name` in a file of `name value` lines; 0 where there is none. */
export async function counterIn(path: string, name: string): Promise<number> {
  const line = ((await readIfThere(path)) ?? '').split('\n').find((candidate) => candidate.startsWith(`${name} `));
  return Number(line?.slice(name.length + 1) ?? 0);
}

async function readIfThere(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENODEV') return null;
    throw error;
  }
}

/** Sends SIGKILL to each; those that are gone already do not matter. */
export function killProcesses(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      if (codeOf(error) !== 'ESRCH') throw error;
    }
  }
}

/** Freezes a cgroup of version 2, or thaws it. */
export function freezeV2(directory: string, isFrozen: boolean): void {
  // `r+` so that the file is never made where it is missing.
  writeFileSync(join(directory, 'cgroup.freeze'), isFrozen ? '1' : '0', { flag: 'r+' });
}

/** Removes a cgroup's directory, of which the files are the kernel's. */
export async function removeCgroupDirectory(directory: string): Promise<void> {
  try {
    await rmdir(directory);
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  }
}
