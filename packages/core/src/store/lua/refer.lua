--- Notes that an artifact needs a blob.
---
--- @key meta
--- @key references
--- @arg artifactId
--- @arg nowMs
--- @return 1, or 0 where there is no blob

if redis.call('EXISTS', meta) == 0 then return 0 end
redis.call('HSET', meta, 'storedAtMs', nowMs)
redis.call('SADD', references, artifactId)
return 1
