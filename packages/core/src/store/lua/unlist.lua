--- Takes a member off a list, unless it was put on it again since it was seen there.
---
--- @key list
--- @arg member
--- @arg listedAtMs        the latest time at which it may have been put there
--- @return 1 where it is off the list now, else 0

local score = redis.call('ZSCORE', list, member)
if score and tonumber(score) > tonumber(listedAtMs) then return 0 end
redis.call('ZREM', list, member)
return 1
