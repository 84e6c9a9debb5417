--- Finds jobs that have waited past their queue deadline, among so many of those that wait.
---
--- @key queue
--- @arg nowMs
--- @arg from              how many to pass over
--- @arg count             how many to look at
--- @return their ids
---
--- @include "../../redis/lua/keys"
--- @const DELAYED_SCORE_PER_MS

local found = {}

local function look(ids)
  for _, id in ipairs(ids) do
    local options = redis.call('HGET', queue .. id, 'opts')
    local deadline = options and string.match(options, '"queueDeadlineMs":(%d+)')
    if deadline and tonumber(deadline) < tonumber(nowMs) then found[#found + 1] = id end
  end
end

local first, most = tonumber(from), tonumber(count)
look(redis.call('LRANGE', queue .. 'wait', -(first + most), -(first + 1)))
look(redis.call('ZRANGE', queue .. 'prioritized', first, first + most - 1))
look(redis.call('ZRANGE', queue .. 'delayed', '-inf', nowMs * DELAYED_SCORE_PER_MS, 'BYSCORE', 'LIMIT', first, most))
return found
