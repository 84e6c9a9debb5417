--- Adds a version, or finds the one that has this content. Version numbers are never used twice, not even after a
--- deletion, so that artifact and number name the same code for ever.
---
--- Where a name in it may have come to mean something else (`again`), a version that is ready is no answer: another one is added,
--- and is the one with this content only when it is ready and differs.
---
--- Either way that version is the one that was deployed last.
---
--- @key artifact
--- @key versions
--- @key versionStates
--- @key contents
--- @key deployments
--- @arg artifactId
--- @arg namespace
--- @arg runtime
--- @arg createdAt         now, as ISO 8601 has it
--- @arg contentHash
--- @arg record            as JSON, with the version 0
--- @arg again             1 or ''
--- @return {0, runtime} for another runtime, {1, version} for a new one, {2, version} for a known one

local function deployed(version)
  redis.call('ZADD', deployments, redis.call('HINCRBY', artifact, 'latestDeployment', 1), version)
end

local deleted = redis.call('HGET', artifact, 'deleted')
local runtimeBefore = redis.call('HGET', artifact, 'runtime')
local standing = false
if runtimeBefore and not deleted then
  if runtimeBefore ~= runtime then return {0, runtimeBefore} end
  local known = redis.call('HGET', contents, contentHash)
  local state = known and redis.call('HGET', versionStates, known)
  standing = known and state ~= 'failed'
  if standing and (again ~= '1' or state == 'creating') then
    deployed(known)
    return {2, tonumber(known)}
  end
else
  redis.call('DEL', versions, versionStates, contents, deployments)
  redis.call('HDEL', artifact, 'deleted', 'settings')
  redis.call('HSET', artifact, 'id', artifactId, 'namespace', namespace, 'runtime', runtime, 'createdAt', createdAt)
end
local version = redis.call('HINCRBY', artifact, 'latestVersion', 1)
redis.call('HSET', versions, version, string.gsub(record, '"version":0', '"version":' .. version, 1) .. '')
redis.call('HSET', versionStates, version, 'creating')
deployed(version)
if not standing then redis.call('HSET', contents, contentHash, version) end
return {1, version}
