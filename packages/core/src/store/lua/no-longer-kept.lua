--- Takes what a task held out of the set `kept`, but not out of the sum, which its caller does for many together.
---
--- @include "../../redis/lua/keys"
---
--- Defines `noLongerKept(ulid, sizes)`, which returns how many bytes that were.

local function noLongerKept(ulid, sizes)
  local bytes = 0
  for kind, size in string.gmatch(sizes, '(%a)(%d+)') do
    bytes = bytes + redis.call('ZREM', tag .. 'kept', ulid .. kind .. size) * size
  end
  return bytes
end
