--- Maps a field to the first value that was claimed with it.
---
--- @key claims            a hash
--- @arg field
--- @arg value
--- @arg forS              how long the hash is kept from now on
--- @return false where the field was free, else the value that holds it

if redis.call('HSETNX', claims, field, value) == 0 then return redis.call('HGET', claims, field) end
redis.call('EXPIRE', claims, forS)
return false
