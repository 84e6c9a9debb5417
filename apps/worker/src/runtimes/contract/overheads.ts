/** The resources that an interpreter needs itself, on top of what the function may use. */
export interface Overhead {
  /**
   * Processes and threads. The kernel counts threads. Node: the main one, 4 of V8, 4 of libuv, its signal and task
   * threads, 11 in all, and a `worker_threads` of its own now and then; and with it bubblewrap's monitor, its init
   * and the shell that becomes the command.
   */
  readonly pids: number;
  /** Private writable memory that it maps and mostly never touches: Node 26 maps 560 MiB of it. */
  readonly dataMiB: number;
  /** The part of that memory that the cgroup counts. */
  readonly memoryMiB: number;
  /** Files that it may have open; the usual number where it is not said. */
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
