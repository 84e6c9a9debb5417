import type { Redis } from 'ioredis';

/** For how long Redis has been there without a break. */
export class ConnectionAge {
  #since = Number.NEGATIVE_INFINITY;

  constructor(redis: Redis) {
    let wasReady = redis.status === 'ready';
    redis.on('ready', () => {
      if (wasReady) this.#since = performance.now();
      wasReady = true;
    });
  }

  get connectedForMs(): number {
    return performance.now() - this.#since;
  }
}
