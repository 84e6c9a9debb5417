import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from '@pilum/core/redis/connect.ts';
import { Refusal } from '../setup/refusal.mjs';

const PATIENCE_MS = 5000;

/**
 * Checks that the Redis of `--redis` answers us.
 * @throws Refusal that says what it, or the network, has said.
 */
export async function checkRedis(url: string, signal: AbortSignal): Promise<void> {
  let said = `no answer after ${PATIENCE_MS / 1000} s`;
  let redis: ReturnType<typeof connect>;
  try {
    redis = connect({ url, name: 'pilum-up' }, (error) => {
      said = error.message || (error as NodeJS.ErrnoException).code || said;
    });
  } catch (error) {
    throw refusal((error as Error).message);
  }
  const waiting = new AbortController();
  try {
    const deadline = sleep(PATIENCE_MS, 'late', { signal: AbortSignal.any([signal, waiting.signal]) });
    // A Redis that answers with an error has answered: a wrong password does not get better by waiting.
    const answer = redis.ping().catch((error: Error) => error);
    const first = await Promise.race([answer, deadline]);
    if (first instanceof Error) throw refusal(first.message);
    if (first === 'late') throw refusal(said);
  } finally {
    waiting.abort();
    redis.disconnect();
  }

  function refusal(why: string): Refusal {
    return new Refusal(`The Redis of --redis cannot be used (${why}): start it, or put the URL right.`);
  }
}
