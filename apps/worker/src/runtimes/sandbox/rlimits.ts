import type { ArtifactSpec } from '@pilum/core/schemas/artifact-spec.ts';

/** What the interpreter itself needs, on top of what the function may use. */
export interface Overhead {
  /**
   * Processes and threads. The kernel counts threads. Node: the main one, 4 of V8, 4 of libuv, its signal and task
   * threads, 11 in all, and a `worker_threads` of its own now and then; and with it bubblewrap's monitor, its init
   * and the shell that becomes the command.
   */
  readonly pids: number;
  /** Private writable memory that it maps and mostly never touches: Node 26 maps 560 MiB of it. */
  readonly dataMiB: number;
  /** What it needs of the memory that the cgroup counts. */
  readonly memoryMiB: number;
  /** Files that it may have open; {@link OPEN_FILES} where it is not said. */
  readonly openFiles?: number;
}

export const OVERHEADS = {
  node: { pids: 20, dataMiB: 640, memoryMiB: 0 },
  python: { pids: 6, dataMiB: 64, memoryMiB: 0 },
  command: { pids: 6, dataMiB: 64, memoryMiB: 0 },
  /** A command with a bridge beside it, which is a Node. */
  bridged: { pids: 22, dataMiB: 640, memoryMiB: 32 },
  /** A Node that runs many guests, each with files open; how many is bounded for each. */
  engine: { pids: 20, dataMiB: 640, memoryMiB: 0, openFiles: 65_536 },
} as const satisfies Record<string, Overhead>;

export interface Rlimits {
  readonly openFiles: number;
  readonly fileMiB: number;
  /** null: not limited here. */
  readonly processes: number | null;
  readonly dataMiB: number | null;
}

/** How the kernel counts RLIMIT_NPROC for our instances. */
export type ProcessCounting =
  /** For each user namespace apart (Linux 5.14 and newer), so each instance has its own count. */
  | 'namespace'
  /** For each uid, of which every instance has its own. */
  | 'own-uid'
  /** For each uid, which all instances and other programs of this user share. */
  | 'shared-uid';

const OPEN_FILES = 1024;
/** Above what any user's other programs have: only a fork bomb gets there. */
const SHARED_UID_SLACK = 4096;

/** The rlimits of an instance. Memory is limited by rlimit only where no cgroup does it, as it counts address space. */
export function rlimitsFor(
  limits: ArtifactSpec['limits'],
  overhead: Overhead,
  machine: { counting: ProcessCounting; memoryCgroup: boolean },
): Rlimits {
  const processes = limits.pids + overhead.pids;
  return {
    openFiles: overhead.openFiles ?? OPEN_FILES,
    // No file can be larger than the place it lies in; the result is no file.
    fileMiB: limits.diskMiB,
    processes: machine.counting === 'shared-uid' ? processes + SHARED_UID_SLACK : processes,
    dataMiB: machine.memoryCgroup ? null : limits.memoryMiB + overhead.dataMiB,
  };
}

/**
 * A script for /bin/sh that sets the limits and becomes the command that follows. Written for dash, bash and busybox:
 * dash calls the number of processes `-p`, the others `-u`.
 */
export function rlimitScript(rlimits: Rlimits): string {
  const set = [
    'ulimit -c 0',
    `ulimit -n ${rlimits.openFiles}`,
    // In blocks of 512 bytes.
    `ulimit -f ${rlimits.fileMiB * 2048}`,
  ];
  if (rlimits.dataMiB !== null) set.push(`ulimit -d ${rlimits.dataMiB * 1024}`);
  if (rlimits.processes !== null) {
    set.push(`ulimit -u ${rlimits.processes} 2>/dev/null || ulimit -p ${rlimits.processes}`);
  }
  // It fails only where the limit in force is lower already, which then stays.
  return [...set.map((line) => `${line} 2>/dev/null || :`), 'exec "$@"'].join('\n');
}
