import { Redis, type RedisOptions } from 'ioredis';
import { Rounds } from '../async/rounds.ts';

/** From one question to Sentinels to the next, ms. */
const ASK_MS = 500;
/** The time in which a Sentinel has to answer, ms. */
const PATIENCE_MS = 1000;

/** The address of a primary, as its Sentinels have it. */
export interface PrimaryAddress {
  readonly host: string;
  readonly port: number;
}

/** The options of a connection that are about its Sentinels. */
export type SentinelOptions = Pick<RedisOptions, 'sentinels' | 'name' | 'sentinelPassword' | 'sentinelTLS'>;

const watches = new Map<string, PrimaryWatch>();

/**
 * Calls back with the address of the primary again and again, as its Sentinels have it, so that connections to one that only hangs can leave
 * it. All connections of this process to one primary share the questions.
 *
 * ioredis has a watch of its own (`failoverDetector`), which may not be used: where it speaks up while a connection is being made,
 * ioredis takes the connection for closed, fails all that waits for it, and never tries again.
 * @returns what ends it
 */
export function watchPrimary(options: SentinelOptions, onAddress: (address: PrimaryAddress) => void): () => void {
  const key = JSON.stringify([options.name, options.sentinels]);
  const watch = watches.get(key) ?? new PrimaryWatch(options, () => watches.delete(key));
  watches.set(key, watch);
  return watch.add(onAddress);
}

class PrimaryWatch {
  readonly #options: SentinelOptions;
  readonly #onUnused: () => void;
  readonly #listeners = new Set<(address: PrimaryAddress) => void>();
  readonly #rounds = new Rounds(() => this.#ask(), { everyMs: ASK_MS, onError: ignore, ref: false });
  #sentinel: Redis | null = null;
  /** Number of times that another Sentinel was turned to. */
  #turns = 0;

  constructor(options: SentinelOptions, onUnused: () => void) {
    this.#options = options;
    this.#onUnused = onUnused;
    this.#rounds.open();
  }

  add(listener: (address: PrimaryAddress) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      if (!this.#listeners.delete(listener) || this.#listeners.size > 0) return;
      this.#onUnused();
      void this.#rounds.close();
      this.#leave();
    };
  }

  async #ask(): Promise<void> {
    this.#sentinel ??= this.#connect();
    try {
      const answer = await this.#sentinel.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', this.#options.name ?? '');
      const [host, port] = answer as [string, string];
      for (const listener of this.#listeners) listener({ host, port: Number(port) });
    } catch {
      // It has gone, hangs, or does not know the primary: the next one may.
      this.#leave();
      this.#turns++;
    }
  }

  #connect(): Redis {
    const { sentinels = [], sentinelPassword, sentinelTLS } = this.#options;
    const sentinel = new Redis({
      ...sentinels[this.#turns % sentinels.length],
      ...(sentinelPassword == null ? {} : { password: sentinelPassword }),
      ...(sentinelTLS === undefined ? {} : { tls: sentinelTLS }),
      connectTimeout: PATIENCE_MS,
      commandTimeout: PATIENCE_MS,
      enableReadyCheck: false,
      maxRetriesPerRequest: 0,
      retryStrategy: () => null,
    });
    sentinel.on('error', ignore);
    return sentinel;
  }

  #leave(): void {
    this.#sentinel?.disconnect();
    this.#sentinel = null;
  }
}

/** Ignores a failure: the next round asks again. */
function ignore(): void {}
