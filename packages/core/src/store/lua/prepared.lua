--- Writes what is known of a version that is being made ready, by the worker that has claimed it, and with `to` the state that it
--- ends in. The record is written whole: nobody else writes it then.
---
--- One that has come to the same image as the version of the same content goes without a trace: that one is it, is ready, and
--- takes its place among the deployments.
---
--- @key versions
--- @key versionStates
--- @key claim
--- @key contents
--- @key deployments
--- @arg version
--- @arg claimant
--- @arg record            as JSON
--- @arg to                state that it ends in, or ''
--- @arg claimMs           how long the claim lasts from now on
--- @arg contentHash
--- @arg imageId           or ''
--- @return 1, or 0 where the version is not being made ready, or not by this worker, any more

if redis.call('HGET', versionStates, version) ~= 'creating' or redis.call('GET', claim) ~= claimant then return 0 end
redis.call('HSET', versions, version, record)
if to == '' then
  redis.call('PEXPIRE', claim, claimMs)
else
  redis.call('HSET', versionStates, version, to)
  redis.call('DEL', claim)
end
if to ~= 'ready' then return 1 end
local known = redis.call('HGET', contents, contentHash)
if known and known ~= version then
  local knownRecord = redis.call('HGET', versions, known)
  local state = redis.call('HGET', versionStates, known)
  local image = knownRecord and cjson.decode(knownRecord).image
  if type(image) == 'table' and image.id == imageId and (state == 'ready' or state == 'deprecated') then
    local place = redis.call('ZSCORE', deployments, version)
    if place then redis.call('ZADD', deployments, 'GT', place, known) end
    redis.call('HSET', versionStates, known, 'ready')
    redis.call('HDEL', versions, version)
    redis.call('HDEL', versionStates, version)
    redis.call('ZREM', deployments, version)
    return 1
  end
end
redis.call('HSET', contents, contentHash, version)
return 1
