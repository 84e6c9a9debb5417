--- Takes or keeps the office. A deputy takes it only where it is vacant, and gives way to anyone who is none.
---
--- @key office
--- @arg name
--- @arg forMs
--- @arg isDeputy          1 or 0
--- @return 1 where the name holds it now, else 0
---
--- @const DEPUTY

local holder = redis.call('GET', office)
if holder and holder ~= name and (isDeputy == '1' or string.sub(holder, 1, #DEPUTY) ~= DEPUTY) then return 0 end
redis.call('SET', office, name, 'PX', forMs)
return 1
