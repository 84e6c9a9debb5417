--- Removes a bounded piece of what the tasks of a deleted artifact have left: outcomes and what lies beside them, indexes, claims of
--- idempotency keys. Tasks of a new artifact of the same id were accepted later, and stay. So do tasks, for a while, that have only
--- just ended: someone may be about to read how.
---
--- @key queue
--- @arg before            a ULID: only tasks accepted before it
--- @arg count             tasks of each kind at most
--- @arg endedAfterMs      tasks that ended later stay for now
--- @return {how many were removed, how many stay for now}
---
--- @include "no-longer-kept"
--- @const SETTLED_STATUSES
--- @const TASK_KEYS
--- @const ULID_LENGTH

local most, endedAfter = tonumber(count), tonumber(endedAfterMs)
local removed, staying, bytes = 0, 0, 0

local function unlinkTask(ulid)
  local base, keys = taskKeys(ulid), {}
  for i, name in ipairs(TASK_KEYS) do keys[i] = base .. name end
  redis.call('UNLINK', unpack(keys))
end

for _, status in ipairs(SETTLED_STATUSES) do
  local index = tag .. 'settled:' .. status
  for _, member in ipairs(redis.call('ZRANGE', index, '-', '(' .. before, 'BYLEX', 'LIMIT', 0, most)) do
    local ulid = string.sub(member, 1, ULID_LENGTH)
    local outcome = redis.call('GET', taskKeys(ulid) .. 'outcome')
    local ended = outcome and string.match(outcome, '"finishedAtMs":(%d+)')
    if ended and tonumber(ended) > endedAfter then
      staying = staying + 1
    else
      unlinkTask(ulid)
      bytes = bytes + noLongerKept(ulid, string.sub(member, ULID_LENGTH + 2))
      redis.call('ZREM', index, member)
      removed = removed + 1
    end
  end
end

local function countDown()
  if bytes == 0 then return end
  local left = tonumber(redis.call('HGET', tag .. 'stats', 'keptBytes') or 0) - bytes
  redis.call('HSET', tag .. 'stats', 'keptBytes', math.max(0, left))
end

if staying > 0 then
  countDown()
  return {removed, staying}
end
local claims = tag .. 'idempotency-keys'
for _, key in ipairs(redis.call('ZRANGE', claims, 0, most - 1)) do
  local claim = tag .. 'idempotency:' .. key
  local value = redis.call('GET', claim)
  local ulid = value and string.sub(value, -ULID_LENGTH)
  -- They stand in the order in which they were made.
  if ulid and ulid >= before then break end
  redis.call('UNLINK', claim)
  redis.call('ZREM', claims, key)
  if ulid then unlinkTask(ulid) end
  removed = removed + 1
end
-- What is counted still, and in no index any more.
for _, member in ipairs(redis.call('ZRANGE', tag .. 'kept', '-', '(' .. before, 'BYLEX', 'LIMIT', 0, most)) do
  unlinkTask(string.sub(member, 1, ULID_LENGTH))
  redis.call('ZREM', tag .. 'kept', member)
  bytes = bytes + string.sub(member, ULID_LENGTH + 2)
  removed = removed + 1
end
countDown()
return {removed, 0}
