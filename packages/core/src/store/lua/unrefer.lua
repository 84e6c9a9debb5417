--- Takes the note back that an artifact needs a blob.
---
--- @key meta
--- @key references
--- @arg artifactId
--- @arg nowMs

redis.call('SREM', references, artifactId)
if redis.call('EXISTS', meta) == 1 then redis.call('HSET', meta, 'storedAtMs', nowMs) end
return 1
