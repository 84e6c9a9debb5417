import { setTimeout as sleep } from 'node:timers/promises';
import { SystemError } from '@pilum/core/errors/pilum-error.ts';
import { logEvent } from '@pilum/core/log/log-events.ts';
import { redisFailure } from '@pilum/core/redis/redis-failure.ts';
import type { Logger } from 'pino';
import { stopOf } from './running-tasks.ts';

/** Between two tries to write what a task came to, ms. */
const WRITE_AGAIN_MS = 250;

/** Stands for a write that Redis did not take before the worker had to stop. */
export const NOT_TAKEN = Symbol('not taken');

/**
 * Writes what a task came to. A Redis that is there and takes no writes (out of memory, loading, read-only) will take them
 * again: the write is tried until then, for as long as the worker may wait.
 * @param signal the running task's; it says when the worker stops
 * @returns what `write` returns; {@link NOT_TAKEN} where the worker stops first
 * @throws what `write` throws for any other reason
 */
export async function untilTaken<T>(
  write: () => Promise<T>,
  signal: AbortSignal,
  logger: Logger,
): Promise<T | typeof NOT_TAKEN> {
  for (;;) {
    try {
      return await write();
    } catch (error) {
      const failure = redisFailure(error);
      if (!(failure instanceof SystemError) || failure.code !== 'REDIS_UNAVAILABLE') throw error;
      if (stopOf(signal) === 'interrupted') return NOT_TAKEN;
      logEvent(logger, 'outcome-not-taken', { err: error });
      await sleep(WRITE_AGAIN_MS);
    }
  }
}
