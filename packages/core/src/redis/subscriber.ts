import type { Redis } from 'ioredis';

/**
 * The one subscribing connection of a process. Messages that were published while it was away are lost: `onGap` is
 * told each time the connection is back, so that whoever relies on a channel reads the truth again.
 */
export class Subscriber {
  readonly #redis: Redis;
  readonly #listeners = new Map<string, (message: string) => void>();
  readonly #gapListeners = new Set<() => void>();
  #wasReady: boolean;

  /**
   * @param redis a connection used for nothing else
   * @param onError is told of a message that its listener could not read: one bad message must not end the process
   */
  constructor(redis: Redis, onError: (error: unknown) => void) {
    this.#redis = redis;
    // It may have been for a while: what comes next is then no first time.
    this.#wasReady = redis.status === 'ready';
    redis.on('message', (channel: string, message: string) => {
      try {
        this.#listeners.get(channel)?.(message);
      } catch (error) {
        onError(error);
      }
    });
    redis.on('ready', () => {
      if (this.#wasReady) this.#onBack();
      this.#wasReady = true;
    });
  }

  /** The truth is read when messages are heard again, and not before: of what comes in between nobody would hear. */
  #onBack(): void {
    this.#redis.subscribe(...this.#listeners.keys()).then(
      () => {
        for (const listener of this.#gapListeners) listener();
      },
      () => undefined, // the connection has gone again, and comes back
    );
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
