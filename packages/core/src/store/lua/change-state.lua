--- Changes a version's state if it is still what the caller saw.
---
--- @key versionStates
--- @key aliases
--- @arg version
--- @arg from
--- @arg to
--- @return 1, 0 where the state is another, -1 where an alias points at the version

if redis.call('HGET', versionStates, version) ~= from then return 0 end
if to == 'deprecated' then
  for _, target in ipairs(redis.call('HVALS', aliases)) do
    if target == version then return -1 end
  end
end
redis.call('HSET', versionStates, version, to)
return 1
