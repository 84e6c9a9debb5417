--- Takes the next job for a slot.
---
--- @key queue
--- @arg nowMs
--- @arg token             what the job is locked with
--- @arg workerId
--- @return {job or false, when the next one is due (ms) or false}
---
--- @include "take"

local job, dueAt = take(tonumber(nowMs), token, workerId)
return {job, dueAt}
