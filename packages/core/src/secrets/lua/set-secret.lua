--- Makes a version of a secret the one that it has, unless a later one is there.
---
--- @key records
--- @arg name
--- @arg version
--- @arg record  as JSON
--- @arg most  secrets of the namespace
--- @return the version that it had, 0 where it is new, -1 where there are too many, -2 where a later one is there

local known = redis.call('HGET', records, name)
local before = 0
if known then
  before = cjson.decode(known).version
  if before > tonumber(version) then return -2 end
elseif redis.call('HLEN', records) >= tonumber(most) then
  return -1
end
redis.call('HSET', records, name, record)
return before
