import { defineScript } from '../redis/script.ts';
import { TAKE_FUNCTION } from './next-job.ts';

/**
 * The next job for a slot.
 * KEYS: wait, prioritized, delayed, active, meta
 * ARGV: job key prefix, now (ms), token, worker id, lock duration (ms)
 * Returns {job or false, next due (ms) or false}
 */
export const FETCH = defineScript(`${TAKE_FUNCTION}
local job, dueAt = take(KEYS, ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5])
return {job, dueAt}
`);
