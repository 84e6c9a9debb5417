import type { ArtifactSpec } from '@pilum/core/schemas/artifact-spec.ts';
import type { Overhead } from '../contract/overheads.ts';

export interface Rlimits {
  readonly openFiles: number;
  readonly fileMiB: number;
  /** The limit on processes; null where there is none here. */
  readonly processes: number | null;
  readonly dataMiB: number | null;
}

/** The way in which the kernel counts RLIMIT_NPROC for our instances. */
export type ProcessCounting =
  /** A count for each user namespace (Linux 5.14 and newer), so that each instance has its own. */
  | 'namespace'
  /** A count for each uid, of which every instance has its own. */
  | 'own-uid'
  /** A count for each uid, which all instances and other programs of this user share. */
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
  // The command fails only where the limit in force is lower already, which then stays.
  return [...set.map((line) => `${line} 2>/dev/null || :`), 'exec "$@"'].join('\n');
}
