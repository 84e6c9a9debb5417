import { LUA_KEYS, ULID_LENGTH } from '../redis/keys.ts';
import { defineScript } from '../redis/script.ts';
import { SETTLED_STATUSES } from '../states/states.ts';
import { KEPT_FUNCTIONS } from './kept-scripts.ts';

/** Every key of a task. */
const TASK_KEYS = [
  'outcome',
  'payload',
  'result',
  'log',
  'attempts',
  'output',
  'frames',
  'ticket',
  'retriedAs',
  'retries',
  'losses',
  'waiters',
];
const quoted = (words: readonly string[]) => words.map((word) => `'${word}'`).join(', ');

/**
 * Removes a bounded piece of what the tasks of a deleted artifact have left: outcomes and what lies beside them, indexes, claims of
 * idempotency keys. Tasks of a new artifact of the same id were accepted later, and stay. So do tasks, for a while, that have only
 * just ended: someone may be about to read how.
 *
 * KEYS: that of {@link LUA_KEYS}
 * ARGV: ULID: only tasks accepted before it, most tasks of each kind, ended after (ms since 1970): those stay for now
 * Returns {how many were removed, how many stay for now}.
 */
export const PURGE = defineScript(`${LUA_KEYS}${KEPT_FUNCTIONS}
local before, most, endedAfter = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local removed, staying, bytes = 0, 0, 0
local function unlinkTask(ulid)
  local base, keys = taskKeys(ulid), {}
  for i, name in ipairs({${quoted(TASK_KEYS)}}) do keys[i] = base .. name end
  redis.call('UNLINK', unpack(keys))
end
for _, status in ipairs({${quoted(SETTLED_STATUSES)}}) do
  local index = tag .. 'settled:' .. status
  for _, member in ipairs(redis.call('ZRANGE', index, '-', '(' .. before, 'BYLEX', 'LIMIT', 0, most)) do
    local ulid = string.sub(member, 1, ${ULID_LENGTH})
    local outcome = redis.call('GET', taskKeys(ulid) .. 'outcome')
    local ended = outcome and string.match(outcome, '"finishedAtMs":(%d+)')
    if ended and tonumber(ended) > endedAfter then
      staying = staying + 1
    else
      unlinkTask(ulid)
      bytes = bytes + noLongerKept(ulid, string.sub(member, ${ULID_LENGTH + 2}))
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
  local ulid = value and string.sub(value, -${ULID_LENGTH})
  -- They stand in the order in which they were made.
  if ulid and ulid >= before then break end
  redis.call('UNLINK', claim)
  redis.call('ZREM', claims, key)
  if ulid then unlinkTask(ulid) end
  removed = removed + 1
end
-- What is counted still, and in no index any more.
for _, member in ipairs(redis.call('ZRANGE', tag .. 'kept', '-', '(' .. before, 'BYLEX', 'LIMIT', 0, most)) do
  unlinkTask(string.sub(member, 1, ${ULID_LENGTH}))
  redis.call('ZREM', tag .. 'kept', member)
  bytes = bytes + string.sub(member, ${ULID_LENGTH + 2})
  removed = removed + 1
end
countDown()
return {removed, 0}
`);

/**
 * Ends the removal of a deleted artifact, unless its id was used again: what its queue and its stats have left goes.
 * KEYS: that of {@link LUA_KEYS}
 */
export const FORGET = defineScript(`${LUA_KEYS}
local artifact = tag .. 'artifact'
if redis.call('HEXISTS', artifact, 'deleted') == 0 then return 0 end
redis.call('HDEL', artifact, 'purgeUntil', 'settings')
local keys = { tag .. 'stats', tag .. 'offers', tag .. 'kept', tag .. 'idempotency-keys' }
for _, name in ipairs({'meta', 'events', 'id', 'pc', 'marker', 'stalled', 'stalled-check'}) do keys[#keys + 1] = queue .. name end
redis.call('UNLINK', unpack(keys))
return 1
`);

/**
 * Notes that nothing is left of the tasks of a deleted artifact whose id was used again.
 * KEYS: artifact. ARGV: when it was deleted (ms)
 */
export const END_PURGE = defineScript(`
if redis.call('HGET', KEYS[1], 'purgeUntil') == ARGV[1] then redis.call('HDEL', KEYS[1], 'purgeUntil') end
`);
