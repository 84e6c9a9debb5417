--- Lets the oldest bytes of an artifact's settled tasks go, a bounded piece of them.
---
--- @key queue
--- @arg mostBytes         bytes that stay
--- @arg before            a ULID: only tasks accepted before it; or ''
--- @return 1 where there is more to let go, else 0
---
--- @include "let-go"

return letGo(tonumber(mostBytes), nil, before ~= '' and before) and 1 or 0
