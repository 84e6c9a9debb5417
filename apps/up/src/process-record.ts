import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { isRunning, processIdentity } from '../setup/process-identity.mjs';

/** Interval at which we look whether a process has gone, ms. */
const LOOK_MS = 20;

/**
 * A file that names a running process of ours, so that the next `up` finds what one that was killed has left behind.
 * Two Redis on one append-only file would ruin it.
 */
export class ProcessRecord {
  readonly #file: string;

  constructor(file: string) {
    this.#file = file;
  }

  write(pid: number): void {
    writeFileSync(this.#file, processIdentity(pid) ?? '');
  }

  erase(): void {
    rmSync(this.#file, { force: true });
  }

  /** Stops the recorded process if it still runs: SIGTERM, SIGKILL after `graceMs`. Says whether there was one. */
  async stopLeftover(graceMs: number, signal: AbortSignal): Promise<boolean> {
    const identity = this.#read();
    const found = isRunning(identity);
    if (found) {
      const pid = Number.parseInt(identity, 10);
      const deadline = Date.now() + graceMs;
      send(pid, 'SIGTERM');
      while (isRunning(identity)) {
        // Its whole group: it led one, and nobody else is in it.
        if (Date.now() > deadline) send(-pid, 'SIGKILL');
        await sleep(LOOK_MS, undefined, { signal });
      }
    }
    this.erase();
    return found;
  }

  #read(): string {
    try {
      return readFileSync(this.#file, 'utf8');
    } catch {
      return '';
    }
  }
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has just ended.
  }
}
