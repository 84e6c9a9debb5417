import { LUA_KEYS, ULID_LENGTH } from '../redis/keys.ts';
import { defineScript } from '../redis/script.ts';

/**
 * What a settled task may hold and not be counted, bytes: its record alone, which the number of kept tasks bounds. A larger one
 * is counted with all that it holds.
 */
export const LIGHT_BYTES = 2048;

/** Entries that are let go in one step at most: a step holds Redis up for less than a millisecond. */
const MOST_PIECES = 64;

/** What stands in the place of a log that was let go. */
const LET_GO_LINE =
  'This log is no longer kept: the tasks of this artifact held more than they may (PILUM_KEPT_MIB), and the oldest go first.';

/**
 * Lua that counts the bytes which the settled tasks of an artifact hold, and lets the oldest go where they are too many. It has
 * {@link LUA_KEYS} before it.
 *
 * The sorted set `kept` has, in order of acceptance, `<ULID>b<bytes>` for what lies in and beside an outcome and `<ULID>f<bytes>` for
 * the frames of a stream; the field `keptBytes` of `stats` is their sum. The record of a task stays when its bytes go: its outcome
 * then says of its result that it lies beside, and nothing does.
 *
 * An entry whose keys have expired is counted until its turn comes or {@link SWEEP_KEPT} finds it.
 */
export const KEPT_FUNCTIONS = `
local function letGoEntry(member)
  local ulid, kind = string.sub(member, 1, ${ULID_LENGTH}), string.sub(member, ${ULID_LENGTH + 1}, ${ULID_LENGTH + 1})
  local base = taskKeys(ulid)
  if kind == 'f' then
    redis.call('UNLINK', base .. 'frames')
  else
    redis.call('UNLINK', base .. 'result', base .. 'payload', base .. 'ticket', base .. 'attempts')
    local text = redis.call('GET', base .. 'outcome')
    if text and #text > ${LIGHT_BYTES} then
      local head = string.match(text, '^(.*"encoding":")%w+","data":"')
      if head and string.sub(text, -3) == '"}}' then redis.call('SET', base .. 'outcome', head .. 'beside"}}', 'KEEPTTL') end
    end
    local line = redis.call('LINDEX', base .. 'log', -1)
    if line then
      local at, ttl = string.match(line, '"at":"([^"]*)"'), redis.call('TTL', base .. 'log')
      redis.call('UNLINK', base .. 'log')
      if at and ttl > 0 then
        redis.call('RPUSH', base .. 'log', '0 0\\n{"at":"' .. at .. '","stream":"log","level":"warn","text":"${LET_GO_LINE}"}\\n')
        redis.call('EXPIRE', base .. 'log', ttl)
      end
    end
  end
  return tonumber(string.sub(member, ${ULID_LENGTH + 2}))
end

local function letGo(most, own, upTo)
  local kept, stats = tag .. 'kept', tag .. 'stats'
  local bytes = tonumber(redis.call('HGET', stats, 'keptBytes') or 0)
  local passed, left = 0, ${MOST_PIECES}
  while bytes > most and left > 0 do
    local member = redis.call('ZRANGE', kept, passed, passed)[1]
    if not member then
      if passed == 0 then bytes = 0 end
      break
    end
    local ulid = string.sub(member, 1, ${ULID_LENGTH})
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

local function keep(ulid, sizes, ageS, most)
  local kept, stats = tag .. 'kept', tag .. 'stats'
  local own, entries = 0, 0
  for kind, size in string.gmatch(sizes, '(%a)(%d+)') do
    redis.call('ZADD', kept, 0, ulid .. kind .. size)
    own, entries = own + size, entries + 1
  end
  if redis.call('TTL', kept) < ageS then redis.call('EXPIRE', kept, ageS) end
  local bytes
  if redis.call('ZCARD', kept) == entries then
    bytes = own
    redis.call('HSET', stats, 'keptBytes', own)
  else
    bytes = redis.call('HINCRBY', stats, 'keptBytes', own)
  end
  if bytes > most then letGo(most, ulid) end
end

local function noLongerKept(ulid, sizes)
  local bytes = 0
  for kind, size in string.gmatch(sizes, '(%a)(%d+)') do
    bytes = bytes + redis.call('ZREM', tag .. 'kept', ulid .. kind .. size) * size
  end
  return bytes
end

local function sizeOf(key)
  return redis.call('MEMORY', 'USAGE', key) or 0
end
`;

/**
 * Lets the oldest bytes of an artifact's settled tasks go, a bounded piece of them.
 * KEYS: that of {@link LUA_KEYS}. ARGV: most bytes to keep, ULID: only tasks accepted before it, or ''
 * Returns 1 where there is more to let go.
 */
export const LET_GO = defineScript(`${LUA_KEYS}${KEPT_FUNCTIONS}
return letGo(tonumber(ARGV[1]), nil, ARGV[2] ~= '' and ARGV[2]) and 1 or 0
`);

/**
 * Takes entries out of the count whose keys have expired, of so many of the oldest.
 * KEYS: that of {@link LUA_KEYS}. ARGV: how many to pass over, how many to look at
 * Returns {how many were looked at, how many of them are gone}.
 */
export const SWEEP_KEPT = defineScript(`${LUA_KEYS}
local kept = tag .. 'kept'
local members = redis.call('ZRANGE', kept, ARGV[1], ARGV[1] + ARGV[2] - 1)
local bytes, gone = 0, 0
for _, member in ipairs(members) do
  local kind = string.sub(member, ${ULID_LENGTH + 1}, ${ULID_LENGTH + 1})
  local key = taskKeys(string.sub(member, 1, ${ULID_LENGTH})) .. (kind == 'f' and 'frames' or 'outcome')
  if redis.call('EXISTS', key) == 0 then
    redis.call('ZREM', kept, member)
    bytes, gone = bytes + string.sub(member, ${ULID_LENGTH + 2}), gone + 1
  end
end
if gone > 0 then
  local left = tonumber(redis.call('HGET', tag .. 'stats', 'keptBytes') or 0) - bytes
  redis.call('HSET', tag .. 'stats', 'keptBytes', math.max(0, left))
end
return {#members, gone}
`);
