import type { Redis } from 'ioredis';
import { ConfigurationError } from '../errors/pilum-error.ts';
import { SCHEMA_VERSION } from './keys.ts';

/** The layout of keys that this release reads and writes. */
export const CURRENT_SCHEMA_VERSION = 4;

/**
 * Marks an empty Redis with the current layout, checks that of a used one, and marks an earlier one as ours: what an
 * earlier release has written is read as it is.
 * @throws ConfigurationError `CONFIGURATION_INVALID` where a newer release has written to it.
 */
export async function checkSchemaVersion(redis: Redis): Promise<void> {
  await redis.setnx(SCHEMA_VERSION, CURRENT_SCHEMA_VERSION);
  const found = Number(await redis.get(SCHEMA_VERSION));
  if (found > CURRENT_SCHEMA_VERSION) {
    throw new ConfigurationError('CONFIGURATION_INVALID', {
      message:
        `This Redis holds schemaVersion ${found}; this release of Pilum knows up to ${CURRENT_SCHEMA_VERSION}. ` +
        'Use the newer release, or another Redis.',
    });
  }
  if (found < CURRENT_SCHEMA_VERSION) await redis.set(SCHEMA_VERSION, CURRENT_SCHEMA_VERSION);
}
