import type { Redis } from 'ioredis';
import { ConfigurationError } from '../errors/pilum-error.ts';
import { SCHEMA_VERSION } from './keys.ts';
import { redisFailure } from './redis-failure.ts';

/** The layout of keys that this release reads and writes. */
export const CURRENT_SCHEMA_VERSION = 4;

/**
 * Marks an empty Redis with the current layout, checks that of a used one, and marks an earlier one as ours: what an
 * earlier release has written is read as it is.
 * @throws ConfigurationError `CONFIGURATION_INVALID` where a newer release has written to it; SystemError `REDIS_UNAVAILABLE`
 *   where it takes no writes, because it is full for example
 */
export async function checkSchemaVersion(redis: Redis): Promise<void> {
  const found = await markedVersion(redis);
  if (found > CURRENT_SCHEMA_VERSION) {
    throw new ConfigurationError('CONFIGURATION_INVALID', {
      message:
        `This Redis holds schemaVersion ${found}; this release of Pilum knows up to ${CURRENT_SCHEMA_VERSION}. ` +
        'Use the newer release, or another Redis.',
    });
  }
  if (found < CURRENT_SCHEMA_VERSION) await redis.set(SCHEMA_VERSION, CURRENT_SCHEMA_VERSION);
}

/** Returns the version that a Redis is marked with; that of this release where it was not. */
async function markedVersion(redis: Redis): Promise<number> {
  try {
    await redis.setnx(SCHEMA_VERSION, CURRENT_SCHEMA_VERSION);
    return Number(await redis.get(SCHEMA_VERSION));
  } catch (error) {
    throw redisFailure(error);
  }
}
