--- Leaves the office, if it is still one's own.
---
--- @key office
--- @arg name

if redis.call('GET', office) == name then redis.call('DEL', office) end
