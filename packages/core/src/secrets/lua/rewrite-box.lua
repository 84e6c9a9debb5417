--- Puts another box in the place of one with the same value, unless its secret has changed.
---
--- @key records
--- @key boxes
--- @arg name
--- @arg version
--- @arg record  as JSON
--- @arg box
--- @return 1, or 0 where it has changed

local known = redis.call('HGET', records, name)
if not known or cjson.decode(known).version ~= tonumber(version) then return 0 end
redis.call('HSET', boxes, name .. '@' .. version, box)
redis.call('HSET', records, name, record)
return 1
