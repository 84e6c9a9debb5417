import type { Redis } from 'ioredis';
import { ulidOf } from '../redis/keys.ts';
import { FIRST_PRIORITY, LAST_PRIORITY } from '../schemas/task.ts';
import { bullPriority, PRIORITY_SCORE } from './bull-format.ts';

/** Ids that are read from a queue at once. */
const ID_PAGE = 1000;
/** Number of places that an id may stand from where its time of acceptance puts it. */
const ORDER_SLACK = 100;

export type QueuedState = 'pending' | 'running';

export interface IdFilter {
  /** A ULID: only tasks accepted before it. */
  readonly before: string | null;
  readonly limit: number;
}

/** Ids of tasks that are not settled, newest first. */
export async function taskIds(
  redis: Redis,
  toKey: (list: string) => string,
  states: readonly QueuedState[],
  filter: IdFilter,
): Promise<string[]> {
  const found: string[] = [];
  if (states.includes('running')) found.push(...(await idsIn(redis, toKey('active'), 'list', filter)));
  if (states.includes('pending')) {
    found.push(...(await idsIn(redis, toKey('wait'), 'list', filter)));
    found.push(...(await idsIn(redis, toKey('delayed'), 'set', filter)));
    found.push(...(await prioritizedIds(redis, toKey('prioritized'), filter)));
  }
  return [...new Set(found)].sort((a, b) => (ulidOf(a) < ulidOf(b) ? 1 : -1)).slice(0, filter.limit);
}

async function idsIn(redis: Redis, key: string, kind: 'list' | 'set', filter: IdFilter): Promise<string[]> {
  const found: string[] = [];
  // In order of acceptance only nearly (several processes add, lost jobs come back): hence a few more than asked for.
  for (let from = 0; found.length < filter.limit + ORDER_SLACK; from += ID_PAGE) {
    const to = from + ID_PAGE - 1;
    const ids =
      kind === 'list' ? await redis.lrange(key, from, to) : await redis.zrange(key, String(from), String(to), 'REV');
    found.push(...ids.filter((id) => filter.before === null || ulidOf(id) < filter.before));
    if (ids.length < ID_PAGE) break;
  }
  return found;
}

/** Reads the newest of each priority: only within one they stand in order of acceptance. */
async function prioritizedIds(redis: Redis, key: string, { before, limit }: IdFilter): Promise<string[]> {
  const ofOne = async (priority: number): Promise<string[]> => {
    const found: string[] = [];
    const least = bullPriority(priority) * PRIORITY_SCORE;
    for (let from = 0; found.length < limit + ORDER_SLACK; from += ID_PAGE) {
      const ids = await redis.zrevrangebyscore(key, least + PRIORITY_SCORE - 1, least, 'LIMIT', from, ID_PAGE);
      found.push(...ids.filter((id) => before === null || ulidOf(id) < before));
      if (ids.length < ID_PAGE) break;
    }
    return found;
  };
  const priorities = Array.from({ length: LAST_PRIORITY - FIRST_PRIORITY + 1 }, (_, i) => FIRST_PRIORITY + i);
  return (await Promise.all(priorities.map(ofOne))).flat();
}
