import type { Redis } from 'ioredis';
import { KEYLESS_API } from '../redis/keys.ts';

/** Time that the notice stands without being given again, ms. */
const STANDS_MS = 15_000;
const AGAIN_MS = 5000;

/**
 * The notice of an API that asks nobody for a key. Whatever reaches it is an admin, so that no worker gives a function a network
 * on which it could be reached.
 */
export class KeylessNotice {
  readonly #redis: Redis;
  readonly #onError: (error: unknown) => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(redis: Redis, onError: (error: unknown) => void) {
    this.#redis = redis;
    this.#onError = onError;
  }

  /** Gives notice, and again and again until it is closed. */
  async open(): Promise<void> {
    this.#timer ??= setInterval(() => void this.#give().catch(this.#onError), AGAIN_MS);
    await this.#give();
  }

  /** Lets the notice end by itself: another API may be as open. May be called again. */
  close(): void {
    clearInterval(this.#timer);
  }

  async #give(): Promise<void> {
    await this.#redis.set(KEYLESS_API, String(Date.now()), 'PX', STANDS_MS);
  }
}

/** Whether an API lives on this Redis that asks nobody for a key. */
export async function hasKeylessApi(redis: Redis): Promise<boolean> {
  return (await redis.exists(KEYLESS_API)) === 1;
}
