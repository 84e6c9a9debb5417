--- Maps a key to the first value that was claimed with it.
---
--- @key claim
--- @arg value
--- @arg forS              how long the claim holds
--- @return false where the key was free, else the value that holds it

if redis.call('SET', claim, value, 'NX', 'EX', forS) then return false end
return redis.call('GET', claim)
