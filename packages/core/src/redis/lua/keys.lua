--- Names the keys of an artifact and its tasks as redis/keys.ts does: all of them begin with the same tag, and a key as an
--- argument of its own would cost the client, the wire and Redis more than putting it together here.
---
--- @key queue             what all keys of the artifact's queue begin with
--- @const QUEUE_NAME
--- @const ULID_LENGTH
---
--- Defines `tag`, which like `queue` ends in a colon; `taskKeys(id)`, what the keys of a task begin with, by its id or its ULID;
--- and `qualifiedId()` of the artifact.

local tag = string.sub(queue, 1, -#QUEUE_NAME - 2)

local function taskKeys(id)
  return tag .. 'task:' .. string.sub(id, -ULID_LENGTH) .. ':'
end

local function qualifiedId()
  local colon = string.find(tag, ':', 8, true)
  return string.sub(tag, 8, colon - 1) .. '/' .. string.sub(tag, colon + 1, -3)
end
