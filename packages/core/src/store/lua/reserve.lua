--- Reserves bytes for an upload. Reservations of uploads that went silent are given back first.
---
--- @key usage
--- @key uploads
--- @arg uploadId
--- @arg bytesMore
--- @arg bytesBefore
--- @arg quotaBytes
--- @arg nowMs
--- @arg expiresAtMs
--- @return 1, or 0 where the quota does not allow it

for _, silent in ipairs(redis.call('ZRANGEBYSCORE', uploads, '-inf', nowMs)) do
  redis.call('DECRBY', usage, string.match(silent, ' (%d+)$'))
  redis.call('ZREM', uploads, silent)
end
local used = tonumber(redis.call('GET', usage) or '0')
if redis.call('ZREM', uploads, uploadId .. ' ' .. bytesBefore) == 0 then
  if tonumber(bytesBefore) > 0 then
    used = redis.call('INCRBY', usage, bytesBefore)
  end
end
if used + tonumber(bytesMore) > tonumber(quotaBytes) then
  redis.call('DECRBY', usage, bytesBefore)
  return 0
end
redis.call('INCRBY', usage, bytesMore)
redis.call('ZADD', uploads, expiresAtMs, uploadId .. ' ' .. (tonumber(bytesBefore) + tonumber(bytesMore)))
return 1
