import type { Redis } from 'ioredis';
import { HOUSEKEEPER } from '../redis/keys.ts';
import { defineScript } from '../redis/script.ts';

/** How long the office lasts without being taken again, ms: another process takes over when its holder dies. */
export const OFFICE_MS = 4000;

const DEPUTY = 'deputy:';

/**
 * Takes or keeps the office. A deputy takes it only where it is vacant, and gives way to anyone who is none.
 * KEYS: office. ARGV: name, ms, 1 for a deputy
 */
const HOLD = defineScript(`
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] and (ARGV[3] == '1' or string.sub(holder, 1, ${DEPUTY.length}) ~= '${DEPUTY}') then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`);

/** Leaves the office, if it is still one's own. KEYS: office. ARGV: name. */
const LEAVE = defineScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
`);

/** The office of the one process that does the housekeeping. */
export class LeaderLease {
  readonly #redis: Redis;
  readonly #name: string;
  readonly #isDeputy: boolean;

  /** @param isDeputy holds the office only while no one else does */
  constructor(redis: Redis, name: string, isDeputy: boolean) {
    this.#redis = redis;
    this.#name = isDeputy ? DEPUTY + name : name;
    this.#isDeputy = isDeputy;
  }

  /** Takes or keeps the office for {@link OFFICE_MS}; false where another holds it. */
  async hold(): Promise<boolean> {
    return (await HOLD.run(this.#redis, [HOUSEKEEPER], [this.#name, OFFICE_MS, this.#isDeputy ? 1 : 0])) === 1;
  }

  async leave(): Promise<void> {
    await LEAVE.run(this.#redis, [HOUSEKEEPER], [this.#name]);
  }
}
