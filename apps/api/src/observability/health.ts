import { withTimeout } from '@pilum/core/async/with-timeout.ts';
import type { Redis } from '@pilum/core/redis/connect.ts';
import type { LiveWorkers } from '../workers/live-workers.ts';

export interface Readiness {
  readonly ready: boolean;
  /** Whether Redis answers. */
  readonly redis: boolean;
  /** Number of live workers; null while Redis is silent. */
  readonly workers: number | null;
  /** Reasons why Redis cannot keep data safe; left out if there are none. */
  readonly problems?: string[];
}

/** Time for Redis to answer, ms. */
const PING_LIMIT_MS = 1000;

/** Finds out whether this process can answer calls, which takes Redis and a live worker. */
export async function readiness(
  redis: Redis,
  workers: LiveWorkers,
  redisProblems: readonly string[],
): Promise<Readiness> {
  const problems = redisProblems.map((what) => `Redis ${what}`);
  const said = problems.length === 0 ? {} : { problems };
  try {
    const list = await withTimeout(
      redis.ping().then(() => workers.list()),
      PING_LIMIT_MS,
      () => {
        throw new Error(`no answer within ${PING_LIMIT_MS} ms`);
      },
    );
    return { ready: list.length > 0 && problems.length === 0, redis: true, workers: list.length, ...said };
  } catch {
    return { ready: false, redis: false, workers: null, ...said };
  }
}
