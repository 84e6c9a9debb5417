--- Records an attempt that failed and is followed by another; once, and only for the worker that holds the job: one that
--- has lost it is late, and changes nothing.
---
--- @key outcome
--- @key attempts
--- @key payload
--- @key lock              of the job
--- @key active            the list of active jobs
--- @key log
--- @key output
--- @key frames
--- @arg recordedBefore    how many attempts were recorded before it
--- @arg attempt           as JSON
--- @arg lifetimeS         how long all of this is kept
--- @arg token             what the job is locked with
--- @arg taskId
--- @return the outcome where the task has one, 1 where the attempt stands recorded, 0 where it came too late

local standing = redis.call('GET', outcome)
if standing then return standing end
local holder = redis.call('GET', lock)
if holder ~= token and (holder or not redis.call('LPOS', active, taskId)) then return 0 end
if redis.call('LLEN', attempts) ~= tonumber(recordedBefore) then
  if redis.call('LINDEX', attempts, -1) == attempt then return 1 end
  return 0
end
redis.call('RPUSH', attempts, attempt)
for _, key in ipairs({ attempts, payload, log, output, frames }) do redis.call('EXPIRE', key, lifetimeS) end
return 1
