import { Rounds } from '@pilum/core/async/rounds.ts';
import { logEvent } from '@pilum/core/log/log-events.ts';
import type { Redis } from '@pilum/core/redis/connect.ts';
import { hasKeylessApi } from '@pilum/core/store/keyless-apis.ts';
import type { Logger } from 'pino';
import { wantsHostNetwork } from '../pool/admit-network.ts';
import type { InstancePools } from '../pool/instance-pools.ts';

/** Between two looks, ms. */
const LOOK_INTERVAL_MS = 5000;

/** Stops instances with the network of this machine when an API without a key has come since they were started. */
export class HostNetworkWatch {
  readonly #redis: Redis;
  readonly #pools: InstancePools;
  readonly #logger: Logger;
  readonly #rounds: Rounds;

  constructor(redis: Redis, pools: InstancePools, logger: Logger) {
    this.#redis = redis;
    this.#pools = pools;
    this.#logger = logger;
    this.#rounds = new Rounds(() => this.#look(), {
      everyMs: LOOK_INTERVAL_MS,
      onError: (error) => logEvent(logger, 'keyless-unseen', { err: error }),
    });
  }

  open(): void {
    this.#rounds.open();
  }

  /** Begins no further look. A look that is under way may wait for Redis, and is left to itself. */
  close(): void {
    void this.#rounds.close();
  }

  async #look(): Promise<void> {
    if (!this.#pools.hasSome(wantsHostNetwork) || !(await hasKeylessApi(this.#redis))) return;
    logEvent(this.#logger, 'keyless-api');
    await this.#pools.stopAllOf(wantsHostNetwork);
  }
}
