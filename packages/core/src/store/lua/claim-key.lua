--- Maps an idempotency key of an artifact to the first that was claimed with it, and lists it, so that it can go with the artifact.
---
--- @key claim             of this idempotency key
--- @key claimed           the list of those in use
--- @arg value
--- @arg forS              how long the claim holds
--- @arg idempotencyKey
--- @return false where the key was free, else the value that holds it
---
--- @const FORGOTTEN_AT_ONCE

if not redis.call('SET', claim, value, 'NX', 'EX', forS) then return redis.call('GET', claim) end
local now = tonumber(redis.call('TIME')[1])
local expired = redis.call('ZRANGE', claimed, '-inf', now, 'BYSCORE', 'LIMIT', 0, FORGOTTEN_AT_ONCE)
if #expired > 0 then redis.call('ZREM', claimed, unpack(expired)) end
redis.call('ZADD', claimed, now + forS, idempotencyKey)
redis.call('EXPIRE', claimed, forS)
return false
