--- Leaves the stats of all artifacts to another API process, where this one holds them.
---
--- @key holder
--- @arg name

if redis.call('GET', holder) == name then redis.call('DEL', holder) end
