import type { Redis } from 'ioredis';
import { outputChannel } from '../redis/keys.ts';
import type { TaskRef } from '../schemas/refs.ts';
import type { Outcome } from '../schemas/task.ts';
import { type OutputMessage, parseOutputMessage, withFrames } from '../store/output-store.ts';
import { parseOutcome } from '../store/read-outcome.ts';

/** Whoever follows one task. Messages are hints: some may be lost, and then Redis knows better. */
export interface OutputListener {
  onOutput(message: OutputMessage): void;
  onOutcome(outcome: Outcome): void;
  /** Messages may have been lost. */
  onGap(): void;
}

export interface Following {
  /** Resolves when messages are heard; what was given before is in Redis. */
  readonly ready: Promise<void>;
  /** May be called again. */
  close(): void;
}

/**
 * Brings one API process what tasks give while they run. The inbox has a connection of its own, made when it is first needed: frames
 * may be many and large, and are not to hold up replies.
 */
export class OutputInbox {
  readonly #connect: () => Redis;
  readonly #onError: (error: unknown) => void;
  readonly #listeners = new Map<string, Set<OutputListener>>();
  /** By channel: a message whose frames are the next one. */
  readonly #apart = new Map<string, OutputMessage>();
  #redis: Redis | null = null;

  /** @param connect makes a connection that is used for nothing else */
  constructor(connect: () => Redis, onError: (error: unknown) => void) {
    this.#connect = connect;
    this.#onError = onError;
  }

  /** Hears what a task gives from now on, until what is returned is closed. */
  follow(ref: TaskRef, listener: OutputListener): Following {
    this.#redis ??= this.#open();
    const redis = this.#redis;
    const channel = outputChannel(ref);
    const listeners = this.#listeners.get(channel) ?? new Set();
    this.#listeners.set(channel, listeners);
    listeners.add(listener);
    // Also where another follows it already: the answer then says that messages are heard.
    const ready = redis.subscribe(channel).then(() => undefined);
    ready.catch(() => undefined);
    return {
      ready,
      close: () => {
        if (!listeners.delete(listener) || listeners.size > 0) return;
        this.#listeners.delete(channel);
        this.#apart.delete(channel);
        redis.unsubscribe(channel).catch(() => undefined); // gone with its connection
      },
    };
  }

  close(): void {
    this.#redis?.disconnect();
  }

  #open(): Redis {
    const redis = this.#connect();
    let wasReady = redis.status === 'ready';
    redis.on('messageBuffer', (channel: Buffer, message: Buffer) => {
      try {
        this.#deliver(channel.toString('utf8'), message);
      } catch (error) {
        this.#onError(error);
      }
    });
    redis.on('ready', () => {
      if (wasReady) this.#onBack(redis);
      wasReady = true;
    });
    return redis;
  }

  /** Redis is read when messages are heard again, and not before: of what comes in between nobody would hear. */
  #onBack(redis: Redis): void {
    this.#apart.clear(); // what was to follow is lost
    const channels = [...this.#listeners.keys()];
    if (channels.length === 0) return;
    redis.subscribe(...channels).then(
      () => {
        for (const listener of this.#all()) listener.onGap();
      },
      () => undefined, // the connection has gone again, and comes back
    );
  }

  *#all(): Generator<OutputListener> {
    for (const listeners of this.#listeners.values()) yield* listeners;
  }

  #deliver(channel: string, bytes: Buffer): void {
    const listeners = this.#listeners.get(channel);
    if (listeners === undefined) return;
    const head = this.#apart.get(channel);
    if (head !== undefined) {
      this.#apart.delete(channel);
      const whole = withFrames(head, bytes);
      for (const listener of listeners) listener.onOutput(whole);
      return;
    }
    const parsed = parseOutputMessage(bytes);
    if (parsed?.isApart === true) this.#apart.set(channel, parsed.message);
    else if (parsed !== null) for (const listener of listeners) listener.onOutput(parsed.message);
    else {
      const outcome = parseOutcome(bytes.toString('utf8'));
      for (const listener of listeners) listener.onOutcome(outcome);
    }
  }
}
