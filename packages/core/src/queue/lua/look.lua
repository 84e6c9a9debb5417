--- Says what there is to do in a queue, in one short script: the housekeeper asks it of every artifact in every round.
---
--- @key wait
--- @key prioritized
--- @key delayed
--- @key active
--- @key artifact
--- @return {waiting and due at any time, delayed, active, when the first delayed one is due (its score) or '', when the
---   artifact was deleted (ms) or '', up to when the tasks of one that was deleted are to be removed (ms) or '', Redis's time (ms)}

local delayedJobs = redis.call('ZCARD', delayed)
local first = ''
if delayedJobs > 0 then first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2] end
local deleted = redis.call('HMGET', artifact, 'deleted', 'purgeUntil')
local now = redis.call('TIME')
return {
  redis.call('LLEN', wait) + redis.call('ZCARD', prioritized), delayedJobs, redis.call('LLEN', active), first,
  deleted[1] or '', deleted[2] or '', now[1] * 1000 + math.floor(now[2] / 1000)
}
