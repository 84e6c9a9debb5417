--- Counts what a task that is settled now holds, and lets the oldest bytes of its artifact go where they are too many.
---
--- @include "let-go"
---
--- Defines `keep(ulid, sizes, lastsS, most)`: `sizes` is what let-go.lua says of `kept`, without the ULID: `b<bytes>f<bytes>`.

local function keep(ulid, sizes, lastsS, most)
  local kept, stats = tag .. 'kept', tag .. 'stats'
  local own, entries = 0, 0
  for kind, size in string.gmatch(sizes, '(%a)(%d+)') do
    redis.call('ZADD', kept, 0, ulid .. kind .. size)
    own, entries = own + size, entries + 1
  end
  if redis.call('TTL', kept) < lastsS then redis.call('EXPIRE', kept, lastsS) end
  local bytes
  if redis.call('ZCARD', kept) == entries then
    bytes = own
    redis.call('HSET', stats, 'keptBytes', own)
  else
    bytes = redis.call('HINCRBY', stats, 'keptBytes', own)
  end
  if bytes > most then letGo(most, ulid) end
end
