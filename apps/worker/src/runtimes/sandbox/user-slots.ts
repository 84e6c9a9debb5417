import { createHash } from 'node:crypto';

/** Uids that no distribution gives to people (up to 60000), to systemd (to 65535) or to containers of ours. */
const FIRST_UID = 210_000;
const UIDS_PER_WORKER = 1024;
const RANGES = 64;

/**
 * Gives each live instance a uid (and gid of the same number) of its own, where the worker is root: what one leaves
 * running or owns is out of reach of another, and rlimits that the kernel counts by uid are counted apart. Workers of
 * one machine take different ranges by their ids.
 */
export class UserSlots {
  readonly #base: number;
  readonly #taken = new Set<number>();

  constructor(workerId: string) {
    const range = createHash('sha256').update(workerId).digest().readUInt32BE(0) % RANGES;
    this.#base = FIRST_UID + range * UIDS_PER_WORKER;
  }

  /** A uid that no live instance has; null where all are taken. */
  take(): number | null {
    for (let slot = 0; slot < UIDS_PER_WORKER; slot++) {
      if (this.#taken.has(slot)) continue;
      this.#taken.add(slot);
      return this.#base + slot;
    }
    return null;
  }

  release(uid: number): void {
    this.#taken.delete(uid - this.#base);
  }
}
