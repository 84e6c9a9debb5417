import type { Redis } from 'ioredis';
import { HOUSEKEEPER } from '../redis/keys.ts';
import { defineScript } from '../redis/script.ts';

/** Time that the office lasts without being taken again, ms: another process takes over when its holder dies. */
export const OFFICE_MS = 4000;

const DEPUTY = 'deputy:';

const HOLD = defineScript({
  file: new URL('lua/hold-lease.lua', import.meta.url),
  keys: ['office'],
  args: ['name', 'forMs', 'isDeputy'],
  constants: { DEPUTY },
});

const LEAVE = defineScript({ file: new URL('lua/leave-lease.lua', import.meta.url), keys: ['office'], args: ['name'] });

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
    const held = await HOLD.run(this.#redis, {
      office: HOUSEKEEPER,
      name: this.#name,
      forMs: OFFICE_MS,
      isDeputy: this.#isDeputy ? 1 : 0,
    });
    return held === 1;
  }

  async leave(): Promise<void> {
    await LEAVE.run(this.#redis, { office: HOUSEKEEPER, name: this.#name });
  }
}
