--- Takes entries out of the count whose keys have expired, among so many of the oldest.
---
--- @key queue
--- @arg from              how many to pass over
--- @arg count             how many to look at
--- @return {how many were looked at, how many of them are gone}
---
--- @include "../../redis/lua/keys"
--- @const ULID_LENGTH

local kept = tag .. 'kept'
local members = redis.call('ZRANGE', kept, from, from + count - 1)
local bytes, gone = 0, 0
for _, member in ipairs(members) do
  local kind = string.sub(member, ULID_LENGTH + 1, ULID_LENGTH + 1)
  local key = taskKeys(string.sub(member, 1, ULID_LENGTH)) .. (kind == 'f' and 'frames' or 'outcome')
  if redis.call('EXISTS', key) == 0 then
    redis.call('ZREM', kept, member)
    bytes, gone = bytes + string.sub(member, ULID_LENGTH + 2), gone + 1
  end
end
if gone > 0 then
  local left = tonumber(redis.call('HGET', tag .. 'stats', 'keptBytes') or 0) - bytes
  redis.call('HSET', tag .. 'stats', 'keptBytes', math.max(0, left))
end
return {#members, gone}
