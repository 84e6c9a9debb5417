import { readFile } from 'node:fs/promises';

/** A process for certain: a pid alone may be given to another one later. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks since boot at which it started, as /proc says it. */
  readonly startedAt: string;
}

/** The process that has this pid now; null where none runs. A zombie does not run; one that is stopped does. */
export async function identify(pid: number): Promise<ProcessIdentity | null> {
  let stat: string;
  try {
    stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return null;
  }
  // The name in parentheses may hold anything, also spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state, startedAt] = [fields[0], fields[19]];
  if (startedAt === undefined || state === 'Z' || state === 'X') return null;
  return { pid, startedAt };
}

export async function isRunning(identity: ProcessIdentity): Promise<boolean> {
  return (await identify(identity.pid))?.startedAt === identity.startedAt;
}
