--- Writes a job's ticket anew, for the worker that holds it.
---
--- @key job
--- @arg token             of its lock
--- @arg ticket            as JSON

if redis.call('GET', job .. ':lock') == token then redis.call('HSET', job, 'data', ticket) end
