--- Points an alias at a version that is ready.
---
--- @key versionStates
--- @key aliases
--- @arg name
--- @arg version
--- @return the version's state, or false

local state = redis.call('HGET', versionStates, version)
if state == 'ready' then redis.call('HSET', aliases, name, version) end
return state
