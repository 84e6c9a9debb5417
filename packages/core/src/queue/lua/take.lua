--- Takes the next job of a queue for a slot, as BullMQ does (bullmq 6, `moveToActive`), without the events and the marker that
--- only BullMQ's own listeners and workers read. Jobs that are due are put in line first; one at the front of `wait` came back
--- from a dead worker, and all others stand among the prioritized.
---
--- @include "../../redis/lua/keys"
--- @const DELAYED_SCORE_PER_MS
--- @const LOCK_DURATION_MS
--- @const PRIORITY_SCORE
---
--- Defines `take(now, nextOwner, worker)`, which returns the job {id, data, options, stalls, handovers} or false; when the next delayed
--- one falls due (ms) or false; and whether the queue would hand one over at all: it is neither paused nor at its limit.

local function take(now, nextOwner, worker)
  local active, delayed, prioritized = queue .. 'active', queue .. 'delayed', queue .. 'prioritized'
  local meta = redis.call('HMGET', queue .. 'meta', 'paused', 'concurrency')
  local first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
  local notDue = (now + 1) * DELAYED_SCORE_PER_MS
  if first[1] and tonumber(first[2]) < notDue then
    local due = redis.call('ZRANGE', delayed, '-inf', notDue - 1, 'BYSCORE', 'LIMIT', 0, 1000)
    redis.call('ZREM', delayed, unpack(due))
    for _, id in ipairs(due) do
      local priority = tonumber(redis.call('HGET', queue .. id, 'priority')) or 1
      local turn = redis.call('INCR', queue .. 'pc') % PRIORITY_SCORE
      redis.call('ZADD', prioritized, priority * PRIORITY_SCORE + turn, id)
      redis.call('HSET', queue .. id, 'delay', 0)
    end
    first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
  end
  local dueAt = first[1] and math.floor(tonumber(first[2]) / DELAYED_SCORE_PER_MS) or false
  if meta[1] or meta[2] and redis.call('LLEN', active) >= tonumber(meta[2]) then return false, dueAt, false end
  local id = redis.call('RPOP', queue .. 'wait') or redis.call('ZPOPMIN', prioritized)[1]
  if not id then return false, dueAt, true end
  local job = queue .. id
  redis.call('LPUSH', active, id)
  redis.call('SET', job .. ':lock', nextOwner, 'PX', LOCK_DURATION_MS)
  local fields = redis.call('HMGET', job, 'data', 'opts', 'stc', 'ats')
  local handovers = tonumber(fields[4] or 0) + 1
  redis.call('HSET', job, 'processedOn', now, 'pb', worker, 'ats', handovers)
  return {id, fields[1], fields[2], fields[3], handovers}, dueAt, true
end
