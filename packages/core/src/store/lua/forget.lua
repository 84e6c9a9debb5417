--- Ends the removal of a deleted artifact, unless its id was used again: what its queue and its stats have left goes.
---
--- @key queue
--- @return 1 where it is gone, 0 where its id was used again
---
--- @include "../../redis/lua/keys"

local artifact = tag .. 'artifact'
if redis.call('HEXISTS', artifact, 'deleted') == 0 then return 0 end
redis.call('HDEL', artifact, 'purgeUntil', 'settings')
local keys = { tag .. 'stats', tag .. 'offers', tag .. 'kept', tag .. 'idempotency-keys' }
for _, name in ipairs({'meta', 'events', 'id', 'pc', 'marker', 'stalled', 'stalled-check'}) do keys[#keys + 1] = queue .. name end
redis.call('UNLINK', unpack(keys))
return 1
