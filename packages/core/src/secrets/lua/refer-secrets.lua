--- Notes that an artifact uses secrets, all of them or none.
---
--- @key records
--- @key ...users  of each secret
--- @arg artifactId
--- @arg ...names  in the same order
--- @return the records as JSON, or the number of the first that does not exist

local found = {}
for i, name in ipairs(names) do
  found[i] = redis.call('HGET', records, name)
  if not found[i] then return i end
end
for _, key in ipairs(users) do redis.call('SADD', key, artifactId) end
return found
