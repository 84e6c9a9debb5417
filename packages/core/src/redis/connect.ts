import type { RedisOptions as IoredisOptions, Redis } from 'ioredis';
import { BatchingRedis } from './batching-redis.ts';

export type { Redis } from 'ioredis';

export interface ConnectOptions {
  /** `redis://…`, `rediss://…` or `unix:///path/redis.sock`. */
  readonly url: string;
  /** Shown by `CLIENT LIST`. */
  readonly name: string;
}

/** Answers have the form that they have always had. */
type RedisOptions = Omit<IoredisOptions, 'replyMapping'>;

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

/** What every connection of ours has in common. */
export function redisOptions({ url, name }: ConnectOptions): RedisOptions {
  return {
    ...addressOf(url),
    connectionName: name,
    // BullMQ asks for it, and a limit by time says more than a limit by tries.
    maxRetriesPerRequest: null,
    retryStrategy: (tries) => Math.min(50 * 2 ** Math.min(tries, 10), MAX_RECONNECT_DELAY_MS),
  };
}

function addressOf(url: string): RedisOptions {
  if (url.startsWith('unix://')) return { path: decodeURIComponent(url.slice('unix://'.length)) };
  const { protocol, hostname, port, username, password, pathname } = new URL(url);
  return {
    host: hostname.replace(/^\[|\]$/g, ''),
    port: port === '' ? 6379 : Number(port),
    ...(username === '' ? {} : { username: decodeURIComponent(username) }),
    ...(password === '' ? {} : { password: decodeURIComponent(password) }),
    ...(pathname.length > 1 ? { db: Number(pathname.slice(1)) } : {}),
    ...(protocol === 'rediss:' ? { tls: {} } : {}),
  };
}
