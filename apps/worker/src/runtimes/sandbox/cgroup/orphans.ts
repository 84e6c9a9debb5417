import { logEvent } from '@pilum/core/log/log-events.ts';
import type { Logger } from 'pino';
import { namesOfTheDead } from '../../../ownership/owner.ts';
import type { CgroupDriver } from './cgroup.ts';
import { endCgroup } from './end.ts';

/** Removed at once; the next look takes the others. */
const MAX_AT_ONCE = 32;

/** The cgroups that dead workers of this machine have left, and the processes in them: ends both. */
export class CgroupOrphans {
  readonly #driver: CgroupDriver;
  readonly #logger: Logger;
  /** Said once, and tried again for as long as they are there. */
  #failed = new Set<string>();

  constructor(driver: CgroupDriver, logger: Logger) {
    this.#driver = driver;
    this.#logger = logger;
  }

  async remove(): Promise<void> {
    const names = await namesOfTheDead(await this.#driver.list());
    // Those that do not go must not keep others waiting for ever.
    names.sort((a, b) => Number(this.#failed.has(a)) - Number(this.#failed.has(b)));
    const results = await Promise.all(names.slice(0, MAX_AT_ONCE).map((name) => this.#end(name)));
    this.#failed = new Set(results.filter((name) => name !== null));
  }

  /** Returns the name of one that is still there. */
  async #end(name: string): Promise<string | null> {
    try {
      await endCgroup(this.#driver.find(name));
      logEvent(this.#logger, 'cgroup-removed', { cgroup: name });
      return null;
    } catch (error) {
      if (!this.#failed.has(name)) {
        logEvent(this.#logger, 'cgroup-not-removed', { err: error, cgroup: name });
      }
      return name;
    }
  }
}
