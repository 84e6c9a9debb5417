--- Marks an artifact as deleted, and what its tasks have left as to be removed.
---
--- @key artifact
--- @key versions
--- @key versionStates
--- @key contents
--- @key aliases
--- @key offers
--- @key deployments
--- @arg recordsForS       how long the records of its versions stay
--- @return when that was, ms of Redis's clock; 0 where there is none

if redis.call('EXISTS', artifact) == 0 or redis.call('HGET', artifact, 'deleted') then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', artifact, 'deleted', now, 'purgeUntil', now)
for _, version in ipairs(redis.call('HKEYS', versionStates)) do redis.call('HSET', versionStates, version, 'deleted') end
redis.call('DEL', contents, aliases, offers, deployments)
redis.call('EXPIRE', versions, recordsForS)
redis.call('EXPIRE', versionStates, recordsForS)
return now
