import type { Redis } from 'ioredis';

/**
 * The one subscribing connection of a process. Messages that were published while it was away are lost: `onGap` is
 * told each time the connection is back, so that whoever relies on a channel reads the truth again.
 */
export class Subscriber {
  readonly #redis: Redis;
  readonly #listeners = new Map<string, (message: string) => void>();
  readonly #gapListeners = new Set<() => void>();
  #wasReady = false;

  /**
   * @param redis a connection used for nothing else
   * @param onError is told of a message that its listener could not read: one bad message must not end the process
   */
  constructor(redis: Redis, onError: (error: unknown) => void) {
    this.#redis = redis;
    redis.on('message', (channel: string, message: string) => {
      try {
        this.#listeners.get(channel)?.(message);
      } catch (error) {
        onError(error);
      }
    });
    redis.on('ready', () => {
      if (this.#wasReady) for (const listener of this.#gapListeners) listener();
      this.#wasReady = true;
    });
  }

  /** Resolves when Redis has confirmed the subscription, which it keeps over reconnects. */
  async subscribe(channel: string, listener: (message: string) => void): Promise<void> {
    this.#listeners.set(channel, listener);
    await this.#redis.subscribe(channel);
  }

  onGap(listener: () => void): void {
    this.#gapListeners.add(listener);
  }

  close(): void {
    this.#redis.disconnect();
  }
}
