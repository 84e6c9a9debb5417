import { mkdir, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Rounds } from '@pilum/core/async/rounds.ts';
import { logEvent } from '@pilum/core/log/log-events.ts';
import type { Logger } from 'pino';
import { isDead, labelOf, ownerIn, readOwner } from './owner.ts';

/** In the directory that workers may share. */
const DIRECTORY = 'workers';
const SHOW_INTERVAL_MS = 10_000;
/** Longer than anybody leaves a container paused for a look at it, ms. */
const GONE_AFTER_MS = 900_000;

export interface PresenceTimes {
  readonly showEveryMs: number;
  readonly goneAfterMs: number;
}

/**
 * Shows in a directory which workers use it: each has a file there, named by its label, and touches it again and again.
 * For workers that cannot see each other's processes, as in containers or on machines with one network file system. One is
 * gone when its file has not changed for long, by the clock of who watches: that runs on neither while a machine sleeps nor by
 * what others believe that the time is.
 */
export class Presence {
  readonly #directory: string;
  readonly #times: PresenceTimes;
  /** The file of every worker that is seen, as it was last, and since when it is so. */
  readonly #seen = new Map<string, { readonly mtimeMs: number; readonly sinceMs: number }>();
  readonly #rounds: Rounds;

  constructor(
    sharedDirectory: string,
    logger: Logger,
    times: PresenceTimes = { showEveryMs: SHOW_INTERVAL_MS, goneAfterMs: GONE_AFTER_MS },
  ) {
    this.#directory = join(sharedDirectory, DIRECTORY);
    this.#times = times;
    this.#rounds = new Rounds(() => this.#show(), {
      everyMs: times.showEveryMs,
      onError: (error) => logEvent(logger, 'presence-unshown', { err: error }),
      ref: false,
    });
  }

  /** Is there from now on; before anything is made that bears this worker's label. */
  async open(): Promise<void> {
    await mkdir(this.#directory, { recursive: true });
    await writeFile(await this.#ownFile(), '');
    this.#rounds.open();
  }

  /** Is there no more: after all that bears this worker's label has gone. May be awaited twice. */
  async close(): Promise<void> {
    await this.#rounds.close();
    await rm(await this.#ownFile(), { force: true });
  }

  /** Whether a worker has not been there for long. False for one that was never seen: nothing is known of it. */
  isGone(label: string): boolean {
    const seen = this.#seen.get(label);
    return seen !== undefined && performance.now() - seen.sinceMs >= this.#times.goneAfterMs;
  }

  async #show(): Promise<void> {
    const now = new Date();
    await utimes(await this.#ownFile(), now, now).catch(async () => writeFile(await this.#ownFile(), ''));
    await this.#look();
  }

  async #look(): Promise<void> {
    const labels = await readdir(this.#directory);
    for (const label of this.#seen.keys()) if (!labels.includes(label)) this.#seen.delete(label);
    for (const label of labels) {
      const { mtimeMs } = await stat(join(this.#directory, label)).catch(() => ({ mtimeMs: null }));
      if (mtimeMs === null) continue;
      const before = this.#seen.get(label);
      if (before?.mtimeMs !== mtimeMs) this.#seen.set(label, { mtimeMs, sinceMs: performance.now() });
      else if (await this.#isPast(label, before.sinceMs)) await rm(join(this.#directory, label), { force: true });
    }
  }

  /** Whether nobody needs a worker's file any more: what it has left went long ago, or goes without. */
  async #isPast(label: string, sinceMs: number): Promise<boolean> {
    const owner = ownerIn(`${label}.`);
    if (owner !== null && (await isDead(owner))) return true;
    return performance.now() - sinceMs >= 2 * this.#times.goneAfterMs;
  }

  async #ownFile(): Promise<string> {
    return join(this.#directory, labelOf(await readOwner()));
  }
}
