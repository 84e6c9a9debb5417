--- Takes or keeps the stats of all artifacts for one API process.
---
--- @key holder
--- @arg name
--- @arg forS
--- @return 1 where the name holds them now, else 0

local standing = redis.call('GET', holder)
if standing and standing ~= name then return 0 end
redis.call('SET', holder, name, 'EX', forS)
return 1
