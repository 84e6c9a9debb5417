import type { RedisOptions as IoredisOptions, Redis } from 'ioredis';
import { parseRedisUrl } from '../config/redis-url.ts';
import { BatchingRedis } from './batching-redis.ts';
import type { RedisTls } from './redis-tls.ts';

export type { Redis } from 'ioredis';

export interface ConnectOptions {
  /** `redis://…`, `rediss://…`, `redis+sentinel://…` or `unix:///path/redis.sock`; see {@link parseRedisUrl}. */
  readonly url: string;
  /** Settings of TLS that are not the usual ones. */
  readonly tls?: RedisTls | undefined;
  /** Shown by `CLIENT LIST`. */
  readonly name: string;
}

/** Answers have the form that they have always had. */
export type RedisOptions = Omit<IoredisOptions, 'replyMapping'>;

/** Longest pause between two tries to reconnect, ms: Redis may be back any moment, and a try costs little. */
const MAX_RECONNECT_DELAY_MS = 1000;

/**
 * Opens a connection that reconnects by itself for as long as it lives, and whose commands wait for Redis for as long as
 * it takes: what a worker wants. Errors of the connection itself go to `onError`; commands in flight when it breaks are
 * sent again, so every command of ours must bear to run twice.
 */
export function connect(options: ConnectOptions, onError: (error: Error) => void): Redis {
  const redis = new BatchingRedis(redisOptions(options));
  redis.on('error', onError);
  return redis;
}

/** Options that every connection of Pilum has in common. */
export function redisOptions(options: ConnectOptions): RedisOptions {
  return {
    ...addressOf(options),
    connectionName: options.name,
    // BullMQ asks for it, and a limit by time says more than a limit by tries.
    maxRetriesPerRequest: null,
    // One that has become a replica takes no writes any more: the name may lead to the new primary by now.
    reconnectOnError: (error) => error.message.includes('READONLY'),
    retryStrategy: (tries) => Math.min(50 * 2 ** Math.min(tries, 10), MAX_RECONNECT_DELAY_MS),
  };
}

function addressOf({ url, tls = {} }: ConnectOptions): RedisOptions {
  const { isTls, sentinels, primary, ...address } = parseRedisUrl(url);
  const { sentinelPassword, ...files } = tls;
  const options = isTls ? { ...address, tls: { ...files } } : address;
  if (sentinels === undefined || primary === undefined) return options;
  return {
    ...options,
    sentinels: [...sentinels],
    name: primary,
    ...(sentinelPassword === undefined ? {} : { sentinelPassword }),
    ...(isTls ? { enableTLSForSentinelMode: true, sentinelTLS: { ...files } } : {}),
    sentinelRetryStrategy: () => MAX_RECONNECT_DELAY_MS / 2,
  };
}
