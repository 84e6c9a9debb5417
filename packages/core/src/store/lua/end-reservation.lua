--- Ends a reservation: the bytes stay in use under the index, or are given back.
---
--- @key usage
--- @key uploads
--- @key index
--- @arg uploadId
--- @arg bytes
--- @arg isKept            1 or 0
--- @arg field             of the index
--- @return 1 where the bytes stay in use, else 0

if redis.call('ZREM', uploads, uploadId .. ' ' .. bytes) == 0 then
  if isKept == '0' then return 0 end
  redis.call('INCRBY', usage, bytes)
end
if isKept == '1' and redis.call('HSETNX', index, field, bytes) == 1 then return 1 end
redis.call('DECRBY', usage, bytes)
return 0
