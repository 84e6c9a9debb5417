--- Settles a task, and nothing else. Its arguments are those of settle.lua.
---
--- @return the outcome that stood before, or false
---
--- @include "settle"

return settle()
