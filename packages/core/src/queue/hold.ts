import { defineScript } from '../redis/script.ts';

/**
 * Renews the locks of jobs. One that has run out is taken again where nobody else has the job: Redis may have been away
 * for longer than a lock lasts, and then those who run the tasks should go on with them. (BullMQ's own script renews a lock
 * that stands and nothing else.)
 *
 * KEYS: active, stalled
 * ARGV: job key prefix, lock duration (ms), then id and token of each job
 * Returns the ids of jobs that are no longer held.
 */
export const HOLD = defineScript(`
local lost = {}
for i = 3, #ARGV, 2 do
  local id, token = ARGV[i], ARGV[i + 1]
  local lock = ARGV[1] .. id .. ':lock'
  local holder = redis.call('GET', lock)
  if holder == token or (not holder and redis.call('LPOS', KEYS[1], id)) then
    redis.call('SET', lock, token, 'PX', ARGV[2])
    redis.call('SREM', KEYS[2], id)
  else
    lost[#lost + 1] = id
  end
end
return lost
`);
