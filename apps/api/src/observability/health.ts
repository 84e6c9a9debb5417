import { withTimeout } from '@pilum/core/async/with-timeout.ts';
import type { Redis } from '@pilum/core/redis/connect.ts';
import type { LiveWorkers } from '../workers/live-workers.ts';

export interface Readiness {
  readonly ready: boolean;
  /** Whether Redis answers. */
  readonly redis: boolean;
  /** Workers that live; null while Redis does not say. */
  readonly workers: number | null;
  /** Why Redis cannot keep what is promised; left out where it can. */
  readonly problems?: string[];
}

/** How long Redis may take for an answer, ms. */
const PING_LIMIT_MS = 1000;

/** Whether calls can be answered here: that takes Redis, and a worker to run them. */
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
