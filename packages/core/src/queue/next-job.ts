/**
 * Lua that takes the next job of a queue for a slot, as BullMQ does (bullmq 6, `moveToActive`), without the events and the
 * marker that only BullMQ's own listeners and workers read. Jobs that are due are put in line first; one at the front of
 * `wait` came back from a dead worker, and all others stand among the prioritized.
 *
 * `take(keys, prefix, now, token, worker, lockMs)`, where `keys` are wait, prioritized, delayed, active and meta, returns
 *   the job {id, data, options, stalls, handovers} or false,
 *   when the next delayed one falls due (ms) or false, and
 *   whether the queue would hand one over at all: it is neither paused nor at its limit.
 */
export const TAKE_FUNCTION = `
local function take(keys, prefix, now, token, worker, lockMs)
local meta = redis.call('HMGET', keys[5], 'paused', 'concurrency')
local first = redis.call('ZRANGE', keys[3], 0, 0, 'WITHSCORES')
if first[1] and tonumber(first[2]) < (now + 1) * 4096 then
  local due = redis.call('ZRANGE', keys[3], '-inf', (now + 1) * 4096 - 1, 'BYSCORE', 'LIMIT', 0, 1000)
  redis.call('ZREM', keys[3], unpack(due))
  for _, id in ipairs(due) do
    local priority = tonumber(redis.call('HGET', prefix .. id, 'priority')) or 1
    redis.call('ZADD', keys[2], priority * 0x100000000 + redis.call('INCR', prefix .. 'pc') % 0x100000000, id)
    redis.call('HSET', prefix .. id, 'delay', 0)
  end
  first = redis.call('ZRANGE', keys[3], 0, 0, 'WITHSCORES')
end
local dueAt = first[1] and math.floor(tonumber(first[2]) / 4096) or false
if meta[1] or meta[2] and redis.call('LLEN', keys[4]) >= tonumber(meta[2]) then return false, dueAt, false end
local id = redis.call('RPOP', keys[1]) or redis.call('ZPOPMIN', keys[2])[1]
if not id then return false, dueAt, true end
local job = prefix .. id
redis.call('LPUSH', keys[4], id)
redis.call('SET', job .. ':lock', token, 'PX', lockMs)
redis.call('HSET', job, 'processedOn', now, 'pb', worker)
local handovers = redis.call('HINCRBY', job, 'ats', 1)
local fields = redis.call('HMGET', job, 'data', 'opts', 'stc')
return {id, fields[1], fields[2], fields[3], handovers}, dueAt, true
end
`;
