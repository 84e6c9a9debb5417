--- Gives a job that comes back to the queue, having been begun in time once, its whole queue wait again.
---
--- @key job
--- @arg nowMs

local options = redis.call('HGET', job, 'opts')
local wait = options and string.match(options, '"queueMs":(%d+)')
if wait then
  local renewed = string.gsub(options, '"queueDeadlineMs":%d+', string.format('"queueDeadlineMs":%.0f', nowMs + wait))
  redis.call('HSET', job, 'opts', renewed)
end
