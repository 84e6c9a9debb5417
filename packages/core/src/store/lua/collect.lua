--- Deletes a blob that no artifact needs and that was stored or asked for before a moment.
---
--- @key meta
--- @key references
--- @arg beforeMs
--- @return {upload id, chunks}; 0 where an artifact needs it; else when it was stored or asked for, ms

if redis.call('SCARD', references) > 0 then return 0 end
local blob = redis.call('HMGET', meta, 'storedAtMs', 'uploadId', 'chunks')
if blob[1] and tonumber(blob[1]) > tonumber(beforeMs) then return tonumber(blob[1]) end
redis.call('DEL', meta, references)
return {blob[2] or '', blob[3] or '0'}
