/** Something that can be called, and is next to others. */
export interface Target {
  readonly name: string;
  readonly url: string;
  /** The status of its answers. */
  readonly status: number;
  /** Its API, worker and Redis: with all their descendants, they are what a call costs. */
  readonly pids: readonly number[];
}
