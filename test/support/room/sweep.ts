import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** How long something may take to end in good order, ms: a worker takes its containers and cgroups with it. */
const GRACE_MS = 3000;
/** What SIGKILL has not ended by then hangs in the kernel, ms. */
const LIMIT_MS = 15_000;
const LOOK_MS = 30;

/** A process that belongs to a directory, in words for a person. */
export interface Found {
  readonly pid: number;
  readonly command: string;
}

/**
 * Ends every process that belongs to a directory, and removes the directory with whatever is mounted in it. A process
 * belongs to it that works in it, or has its path among its arguments or in its environment: what a test starts is
 * known by that also where everyone who could have named it is dead. Without /proc only the directory is removed.
 * @returns what still ran
 */
export async function sweep(directory: string, spared: ReadonlySet<number> = new Set()): Promise<Found[]> {
  const all = new Map<number, Found>();
  const began = performance.now();
  const asked = new Set<number>();
  for (;;) {
    const found = processesOf(directory).filter(({ pid }) => !spared.has(pid));
    if (found.length === 0) break;
    const elapsed = performance.now() - began;
    if (elapsed > LIMIT_MS) break;
    for (const one of found) {
      all.set(one.pid, one);
      if (elapsed > GRACE_MS) signal(one.pid, 'SIGKILL');
      else if (!asked.has(one.pid)) {
        asked.add(one.pid);
        signal(one.pid, 'SIGTERM');
        // One that is stopped hears nothing else.
        signal(one.pid, 'SIGCONT');
      }
    }
    await sleep(LOOK_MS);
  }
  removeWithMounts(directory);
  return [...all.values()];
}

/** The processes that belong to a directory, this one left out. */
export function processesOf(directory: string): Found[] {
  const found: Found[] = [];
  for (const name of entriesOf('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const command = contentOf(`/proc/${name}/cmdline`);
    if (names(command, directory) || names(contentOf(`/proc/${name}/environ`), directory) || worksIn(name, directory)) {
      found.push({ pid, command: command.replaceAll('\0', ' ').trim().slice(0, 200) });
    }
  }
  return found;
}

/** Whether a text has the path of a directory, and not only the beginning of a longer name. */
function names(text: string, directory: string): boolean {
  for (let at = text.indexOf(directory); at >= 0; at = text.indexOf(directory, at + 1)) {
    if (!/[\w-]/.test(text[at + directory.length] ?? '')) return true;
  }
  return false;
}

function worksIn(pid: string, directory: string): boolean {
  try {
    return names(readlinkSync(`/proc/${pid}/cwd`), directory);
  } catch {
    return false;
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended.
  }
}

function removeWithMounts(directory: string): void {
  const mounted = contentOf('/proc/self/mounts')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((path) => path.startsWith(`${directory}/`));
  for (const path of mounted.reverse()) {
    try {
      execFileSync('umount', ['-l', path], { stdio: 'ignore' });
    } catch {
      // What cannot be unmounted is told by rmSync.
    }
  }
  rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
}

function contentOf(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}

function entriesOf(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
