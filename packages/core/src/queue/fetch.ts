import { LUA_KEYS } from '../redis/keys.ts';
import { defineScript } from '../redis/script.ts';
import { TAKE_FUNCTION } from './next-job.ts';

/**
 * The next job for a slot.
 * KEYS: that of {@link LUA_KEYS}
 * ARGV: now (ms), token, worker id
 * Returns {job or false, next due (ms) or false}
 */
export const FETCH = defineScript(`${LUA_KEYS}${TAKE_FUNCTION}
local job, dueAt = take(tonumber(ARGV[1]), ARGV[2], ARGV[3])
return {job, dueAt}
`);
