import { randomUUID } from 'node:crypto';
import type { Redis } from '@pilum/core/redis/connect.ts';
import { FIGURES_HOLDER } from '@pilum/core/redis/keys.ts';
import { defineScript } from '@pilum/core/redis/script.ts';

/** Time without a scrape after which a process leaves the stats to another, s; scrapers usually come once a minute or more. */
const HELD_S = 90;

/** KEYS: holder. ARGV: name, s. Returns 1 where the name holds it now. */
const HOLD = defineScript(`
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
`);

/** KEYS: holder. ARGV: name. */
const LEAVE = defineScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
`);

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
    this.#isHolder = (await HOLD.run(this.#redis, [FIGURES_HOLDER], [this.#name, HELD_S])) === 1;
    return this.#isHolder;
  }

  /** Leaves the stats to another process. If Redis is away, they become free later by themselves. May be called twice. */
  async leave(): Promise<void> {
    if (!this.#isHolder) return;
    this.#isHolder = false;
    await LEAVE.run(this.#redis, [FIGURES_HOLDER], [this.#name]).catch(() => undefined);
  }
}
