import { randomUUID } from 'node:crypto';
import type { Redis } from '@pilum/core/redis/connect.ts';
import { FIGURES_HOLDER } from '@pilum/core/redis/keys.ts';
import { defineScript } from '@pilum/core/redis/script.ts';

/** Time without a scrape after which a process leaves the stats to another, s; scrapers usually come once a minute or more. */
const HELD_S = 90;

const HOLD = defineScript({
  file: new URL('lua/hold-figures.lua', import.meta.url),
  keys: ['holder'],
  args: ['name', 'forS'],
});

const LEAVE = defineScript({
  file: new URL('lua/leave-figures.lua', import.meta.url),
  keys: ['holder'],
  args: ['name'],
});

/**
 * Chooses the one API process that shows the stats of all artifacts. If all scraped processes did, each sum would count every task once
 * per process.
 */
export class StatsHolder {
  readonly #redis: Redis;
  readonly #name = randomUUID();
  #isHolder = false;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** Takes or keeps the stats; false if another process shows them. */
  async hold(): Promise<boolean> {
    const held = await HOLD.run(this.#redis, { holder: FIGURES_HOLDER, name: this.#name, forS: HELD_S });
    this.#isHolder = held === 1;
    return this.#isHolder;
  }

  /** Leaves the stats to another process. If Redis is away, they become free later by themselves. May be called twice. */
  async leave(): Promise<void> {
    if (!this.#isHolder) return;
    this.#isHolder = false;
    await LEAVE.run(this.#redis, { holder: FIGURES_HOLDER, name: this.#name }).catch(() => undefined);
  }
}
