--- Removes a secret that no artifact uses, or any where that is forced.
---
--- @key records
--- @key users
--- @arg name
--- @arg isForced  1 or 0
--- @return its version; 0 where there is none; else the artifacts that use it

local known = redis.call('HGET', records, name)
if not known then return 0 end
if isForced ~= '1' then
  local using = redis.call('SMEMBERS', users)
  if #using > 0 then return using end
end
redis.call('HDEL', records, name)
return cjson.decode(known).version
