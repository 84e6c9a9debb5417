import { Redis, type RedisOptions } from 'ioredis';
import { PilumError, SystemError } from '../errors/pilum-error.ts';

export type { Redis } from 'ioredis';

export interface ConnectOptions {
  /** `redis://…`, `rediss://…` or `unix:///path/redis.sock`. */
  readonly url: string;
  /** Shown by `CLIENT LIST`. */
  readonly name: string;
  /**
   * A command that has no answer after this many ms fails with {@link SystemError} `REDIS_UNAVAILABLE`, also while
   * there is no connection. Left out: commands wait for Redis to come back, which is what a worker wants.
   */
  readonly commandTimeoutMs?: number;
}

/** Longest pause between two tries to reconnect, ms: Redis may be back any moment, and a try costs little. */
const MAX_RECONNECT_DELAY_MS = 1000;

/**
 * Opens a connection that reconnects by itself for as long as it lives. Errors of the connection itself go to
 * `onError`; commands in flight when it breaks are sent again, so every command of ours must bear to run twice.
 */
export function connect(options: ConnectOptions, onError: (error: Error) => void): Redis {
  const redis = new Redis({
    ...addressOf(options.url),
    connectionName: options.name,
    // BullMQ asks for it, and a limit by time (commandTimeout) says more than a limit by tries.
    maxRetriesPerRequest: null,
    // Commands of one event-loop turn travel together: fewer writes, and a wake-up costs more than a command.
    enableAutoPipelining: true,
    commandTimeout: options.commandTimeoutMs,
    retryStrategy: (tries) => Math.min(50 * 2 ** Math.min(tries, 10), MAX_RECONNECT_DELAY_MS),
  });
  redis.on('error', onError);
  return redis;
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

/**
 * What a failed Redis command means to a caller: `REDIS_UNAVAILABLE` for a lost or silent connection and for a Redis
 * that takes no writes; any other error as it is.
 */
export function redisFailure(error: unknown): unknown {
  if (error instanceof PilumError || !(error instanceof Error)) return error;
  const { message } = error;
  if (/Command timed out|Connection is closed|ECONNREFUSED|ECONNRESET|ENOENT|EPIPE|max retries/i.test(message)) {
    return new SystemError('REDIS_UNAVAILABLE', { cause: error });
  }
  if (/^(OOM|LOADING|READONLY|MASTERDOWN|MISCONF|NOREPLICAS|BUSY)\b/.test(message) || message.includes(' OOM ')) {
    return new SystemError('REDIS_UNAVAILABLE', {
      message: `Redis refused the command: ${message.split(/\s/, 1)[0]}.`,
      cause: error,
    });
  }
  return error;
}
