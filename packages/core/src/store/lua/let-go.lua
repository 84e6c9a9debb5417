--- Lets the oldest bytes go that the settled tasks of an artifact hold, where they are too many.
---
--- The sorted set `kept` has, in order of acceptance, `<ULID>b<bytes>` for what lies in and beside an outcome and `<ULID>f<bytes>`
--- for the frames of a stream; the field `keptBytes` of `stats` is their sum. The record of a task stays when its bytes go: its
--- outcome then says of its result that it lies beside, and nothing does.
---
--- An entry whose keys have expired is counted until its turn comes or sweep-kept.lua finds it.
---
--- @include "../../redis/lua/keys"
--- @const LET_GO_LINE
--- @const LIGHT_BYTES
--- @const MOST_PIECES
--- @const ULID_LENGTH
---
--- Defines `letGo(most, own, upTo)`: all but `most` bytes go, those of the task `own` excepted, and of tasks accepted before `upTo`
--- alone where that is a ULID. It returns whether there is more to let go.

local function letGoEntry(member)
  local ulid, kind = string.sub(member, 1, ULID_LENGTH), string.sub(member, ULID_LENGTH + 1, ULID_LENGTH + 1)
  local base = taskKeys(ulid)
  if kind == 'f' then
    redis.call('UNLINK', base .. 'frames')
  else
    redis.call('UNLINK', base .. 'result', base .. 'payload', base .. 'ticket', base .. 'attempts')
    local text = redis.call('GET', base .. 'outcome')
    if text and #text > LIGHT_BYTES then
      local head = string.match(text, '^(.*"encoding":")%w+","data":"')
      if head and string.sub(text, -3) == '"}}' then redis.call('SET', base .. 'outcome', head .. 'beside"}}', 'KEEPTTL') end
    end
    local line = redis.call('LINDEX', base .. 'log', -1)
    if line then
      local at, ttl = string.match(line, '"at":"([^"]*)"'), redis.call('TTL', base .. 'log')
      redis.call('UNLINK', base .. 'log')
      if at and ttl > 0 then
        local head = '0 0\n{"at":"' .. at .. '","stream":"log","level":"warn","text":"'
        redis.call('RPUSH', base .. 'log', head .. LET_GO_LINE .. '"}\n')
        redis.call('EXPIRE', base .. 'log', ttl)
      end
    end
  end
  return tonumber(string.sub(member, ULID_LENGTH + 2))
end

local function letGo(most, own, upTo)
  local kept, stats = tag .. 'kept', tag .. 'stats'
  local bytes = tonumber(redis.call('HGET', stats, 'keptBytes') or 0)
  local passed, left = 0, MOST_PIECES
  while bytes > most and left > 0 do
    local member = redis.call('ZRANGE', kept, passed, passed)[1]
    if not member then
      if passed == 0 then bytes = 0 end
      break
    end
    local ulid = string.sub(member, 1, ULID_LENGTH)
    if upTo and ulid >= upTo then break end
    if ulid == own then
      passed = passed + 1
    else
      redis.call('ZREM', kept, member)
      bytes = bytes - letGoEntry(member)
    end
    left = left - 1
  end
  redis.call('HSET', stats, 'keptBytes', math.max(0, bytes))
  return bytes > most and left == 0
end
