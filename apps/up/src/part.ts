import type { PartProcess } from './part-process.ts';

/** One of the processes that make a running Pilum: Redis, the API, a worker. */
export interface Part {
  /** Shown before each line of its log. */
  readonly name: string;
  /** Address for the user, where that is worth a word. */
  readonly address?: string;
  /** From SIGTERM to SIGKILL, ms. */
  readonly graceMs: number;
  /** Starts its process; called again for every restart. */
  launch(): PartRun;
}

/** One run of a part, from its start to its end. */
export interface PartRun {
  readonly process: PartProcess;
  /** Resolves when the part can be used; stays pending when it ends before. Rejects when that takes too long. */
  readonly ready: Promise<void>;
}
