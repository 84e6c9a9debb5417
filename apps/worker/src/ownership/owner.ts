import { readFile, readlink } from 'node:fs/promises';
import type { Presence } from './presence.ts';
import { identify, isRunning, type ProcessIdentity } from './process-identity.ts';

/** The process that something on this machine belongs to, as it stands in the name of that thing. */
export interface Owner extends ProcessIdentity {
  /** Pids mean something within one namespace only: containers may share a directory or a tree of cgroups. */
  readonly pidNamespace: string;
  /**
   * The run of the kernel that it is a process of: the first pid namespace has the same number on every machine, and some
   * containers have a kernel of their own. null in a label of a release that did not say.
   */
  readonly kernel: string | null;
}

const LABEL = /^(\d+)-(\d+)-(\d+)(?:-k([0-9a-f]{8}))?(?=[.-])/;

let own: Promise<Owner> | undefined;

/** This process. */
export function readOwner(): Promise<Owner> {
  own ??= read();
  return own;
}

async function read(): Promise<Owner> {
  const identity = await identify(process.pid);
  if (identity === null) throw new Error('/proc does not know this process');
  return {
    ...identity,
    pidNamespace: (await readlink('/proc/self/ns/pid')).replace(/\D/g, ''),
    kernel: (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).slice(0, 8),
  };
}

/** `<pid>-<start>-<pid namespace>-k<kernel>`: a name begins with it, and a dot or a dash follows. */
export function labelOf({ pid, startedAt, pidNamespace, kernel }: Owner): string {
  return `${pid}-${startedAt}-${pidNamespace}${kernel === null ? '' : `-k${kernel}`}`;
}

/** Returns the owner whose label a name begins with; null where it is no label. */
export function ownerIn(name: string): Owner | null {
  const [, pid, startedAt, pidNamespace, kernel = null] = LABEL.exec(name) ?? [];
  if (pid === undefined || startedAt === undefined || pidNamespace === undefined) return null;
  return { pid: Number(pid), startedAt, pidNamespace, kernel };
}

/**
 * Whether a process is dead for certain: one that is stopped is not, and of one in another pid namespace, under another
 * kernel, or that /proc hides, nothing can be said.
 */
export async function isDead(owner: Owner): Promise<boolean> {
  const { pidNamespace, kernel } = await readOwner();
  if (owner.pidNamespace !== pidNamespace || (owner.kernel ?? kernel) !== kernel) return false;
  if (await isRunning(owner)) return false;
  return (await identify(owner.pid)) !== null || !isHidden(owner.pid);
}

/** Another user's process, where /proc is mounted so that it shows one's own only. */
function isHidden(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return false; // ours to signal, and so ours to see: a zombie
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/**
 * Picks from names that begin with labels those whose owners are dead. Each owner is looked at once.
 * @param presence of the workers that share the place, where some of them may be out of sight
 */
export async function namesOfTheDead(names: readonly string[], presence: Presence | null = null): Promise<string[]> {
  const verdicts = new Map<string, Promise<boolean>>();
  const found: string[] = [];
  for (const name of names) {
    const owner = ownerIn(name);
    if (owner === null) continue;
    const label = labelOf(owner);
    const verdict = verdicts.get(label) ?? (presence?.isGone(label) ? Promise.resolve(true) : isDead(owner));
    verdicts.set(label, verdict);
    if (await verdict) found.push(name);
  }
  return found;
}
