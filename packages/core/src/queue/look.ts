import { defineScript } from '../redis/script.ts';

/**
 * What there is to do in a queue, in one short script: the housekeeper asks it of every artifact in every round.
 * KEYS: wait, prioritized, delayed, active, artifact
 * Returns {waiting and due at any time, delayed, active, when the first delayed one is due (its score) or '', when the
 * artifact was deleted (ms) or '', up to when the tasks of one that was deleted are to be removed (ms) or '', Redis's time (ms)}
 */
export const LOOK = defineScript(`
local delayed = redis.call('ZCARD', KEYS[3])
local first = ''
if delayed > 0 then first = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')[2] end
local deleted = redis.call('HMGET', KEYS[5], 'deleted', 'purgeUntil')
local now = redis.call('TIME')
return {
  redis.call('LLEN', KEYS[1]) + redis.call('ZCARD', KEYS[2]), delayed, redis.call('LLEN', KEYS[4]), first,
  deleted[1] or '', deleted[2] or '', now[1] * 1000 + math.floor(now[2] / 1000)
}
`);
