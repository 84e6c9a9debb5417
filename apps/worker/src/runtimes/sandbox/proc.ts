import { readdir, readFile } from 'node:fs/promises';

/** The children of a process, the oldest first; none where it is gone. */
export async function childrenOf(pid: number): Promise<number[]> {
  try {
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
    return children
      .split(' ')
      .map(Number)
      .filter((child) => child > 0);
  } catch {
    return [];
  }
}

/** The oldest child of a process; null where it has none, or is gone. */
export async function firstChildOf(pid: number): Promise<number | null> {
  return (await childrenOf(pid))[0] ?? null;
}

/** Sends a signal; false where there is no such process. */
export function signalProcess(pid: number, signal: 'SIGTERM' | 'SIGKILL'): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

const O_CLOEXEC = 0o2000000;

/**
 * The descriptors above 2 of this process that its children get. Node marks its own so that there are none; what
 * started it may have left some.
 */
export async function readInheritedDescriptors(): Promise<number[]> {
  const found: number[] = [];
  for (const name of await readdir('/proc/self/fdinfo')) {
    const info = await readFile(`/proc/self/fdinfo/${name}`, 'utf8').catch(() => '');
    const [, flags] = /^flags:\s*([0-7]+)$/m.exec(info) ?? [];
    if (flags !== undefined && Number(name) > 2 && (Number.parseInt(flags, 8) & O_CLOEXEC) === 0)
      found.push(Number(name));
  }
  return found;
}
