import { LUA_KEYS } from '../redis/keys.ts';
import { defineScript } from '../redis/script.ts';

/** Weight of the newest task in the running averages of waits and run times. */
const AVERAGE_WEIGHT = 0.1;

/**
 * The one place where a task gets its outcome. First writer wins: a later one is handed the outcome that stands, and
 * nothing of what it brought is written. In one step it writes outcome, result and log, indexes and counts the task,
 * lets go of its payload, forgets what is over the count, and tells whoever waits.
 * A large result is staged before and renamed here: its bytes through a script would cost Redis ten times as much.
 *
 * Lua for a script that has {@link LUA_KEYS} before it and these arguments first; it defines `settle()`, which returns the
 * outcome that stood before, or false.
 *
 * ARGV: outcome JSON, task id, retention (s), kept per status, reply channel or '', status, run time (ms), queue wait (ms),
 *       payload size (bytes), batch of log lines or '', key of a staged result or '', ticket JSON for a retry by hand or '',
 *       retention of frames (s), or '' where nothing lies beside the job: no payload, no output, and nothing of an earlier
 *       attempt or run
 */
export const SETTLE_FUNCTION = `
local function settle()
local base = taskKeys(ARGV[2])
local standing = redis.call('GET', base .. 'outcome')
if standing and ARGV[11] ~= '' then redis.call('UNLINK', ARGV[11]) end
if standing then return standing end
if ARGV[11] ~= '' and redis.call('EXISTS', ARGV[11]) == 0 then return redis.error_reply('TRYAGAIN the staged result is gone') end
redis.call('SET', base .. 'outcome', ARGV[1], 'EX', ARGV[3])
if ARGV[11] ~= '' then
  redis.call('RENAME', ARGV[11], base .. 'result')
  redis.call('EXPIRE', base .. 'result', ARGV[3])
end
if ARGV[10] ~= '' then redis.call('RPUSH', base .. 'log', ARGV[10]) end
if ARGV[10] ~= '' or ARGV[13] ~= '' then redis.call('EXPIRE', base .. 'log', ARGV[3]) end
if ARGV[12] ~= '' then redis.call('SET', base .. 'ticket', ARGV[12], 'EX', ARGV[3]) end
if ARGV[13] ~= '' then
  redis.call('EXPIRE', base .. 'attempts', ARGV[3])
  redis.call('EXPIRE', base .. 'output', ARGV[3])
  redis.call('EXPIRE', base .. 'frames', ARGV[13])
  redis.call('DEL', base .. 'losses')
  if ARGV[12] ~= '' then redis.call('EXPIRE', base .. 'payload', ARGV[3]) else redis.call('UNLINK', base .. 'payload') end
end
local index, stats = tag .. 'settled:' .. ARGV[6], tag .. 'stats'
redis.call('ZADD', index, 0, string.sub(ARGV[2], -26))
redis.call('EXPIRE', index, ARGV[3])
local over = redis.call('ZCARD', index) - tonumber(ARGV[4])
if over > 0 then
  local oldest = redis.call('ZPOPMIN', index, math.min(over, 16))
  for i = 1, #oldest, 2 do
    local old = taskKeys(oldest[i])
    local outcome = redis.call('GET', old .. 'outcome')
    if outcome and not string.find(outcome, '"keyed":true', 1, true) then
      redis.call('UNLINK', old .. 'outcome', old .. 'payload', old .. 'result', old .. 'log', old .. 'attempts',
        old .. 'output', old .. 'frames', old .. 'ticket', old .. 'retriedAs')
    end
  end
end
local before = redis.call('HMGET', stats, ARGV[6], 'backlogBytes', 'runMsSum', 'runMs', 'queuedMs')
local function average(old, new)
  if not old then return new end
  return tostring(tonumber(old) + (tonumber(new) - tonumber(old)) * ${AVERAGE_WEIGHT})
end
local counted = string.format('%.0f', tonumber(before[1] or 0) + 1)
local bytes = string.format('%.0f', math.max(0, tonumber(before[2] or 0) - ARGV[9]))
local ranFor = string.format('%.3f', tonumber(before[3] or 0) + ARGV[7])
if ARGV[6] == 'completed' then
  redis.call('HSET', stats, ARGV[6], counted, 'backlogBytes', bytes, 'runMsSum', ranFor,
    'runMs', average(before[4], ARGV[7]), 'queuedMs', average(before[5], ARGV[8]))
else
  redis.call('HSET', stats, ARGV[6], counted, 'backlogBytes', bytes, 'runMsSum', ranFor)
end
if ARGV[5] ~= '' then redis.call('PUBLISH', ARGV[5], ARGV[1]) end
local waiters = redis.call('SMEMBERS', base .. 'waiters')
if #waiters > 0 then
  for _, channel in ipairs(waiters) do redis.call('PUBLISH', channel, ARGV[1]) end
  redis.call('DEL', base .. 'waiters')
end
return false
end
`;

/**
 * Settles a task, and nothing else. KEYS: that of {@link LUA_KEYS}; ARGV: those of {@link SETTLE_FUNCTION}. Returns what
 * `settle()` does.
 */
export const SETTLE = defineScript(`${LUA_KEYS}${SETTLE_FUNCTION}return settle()`);

/**
 * Records an attempt that failed and is followed by another; once, and only for the worker that holds the job: one that
 * has lost it is late, and changes nothing.
 *
 * KEYS: outcome, attempts, payload, lock of the job, active jobs, log, output, frames
 * ARGV: attempts recorded before it, attempt JSON, how long to keep them (s), token of the lock, task id
 * Returns the outcome where the task has one, 1 where the attempt stands recorded, 0 where it came too late.
 */
export const RECORD_ATTEMPT = defineScript(`
local outcome = redis.call('GET', KEYS[1])
if outcome then return outcome end
local holder = redis.call('GET', KEYS[4])
if holder ~= ARGV[4] and (holder or not redis.call('LPOS', KEYS[5], ARGV[5])) then return 0 end
if redis.call('LLEN', KEYS[2]) ~= tonumber(ARGV[1]) then
  if redis.call('LINDEX', KEYS[2], -1) == ARGV[2] then return 1 end
  return 0
end
redis.call('RPUSH', KEYS[2], ARGV[2])
for _, key in ipairs({ KEYS[2], KEYS[3], KEYS[6], KEYS[7], KEYS[8] }) do redis.call('EXPIRE', key, ARGV[3]) end
return 1
`);

/**
 * Maps a key to the first that was claimed with it.
 * KEYS: mapping. ARGV: value, retention (s). Returns false where the key was free, else the value that holds it.
 */
export const CLAIM = defineScript(`
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'EX', ARGV[2]) then return false end
return redis.call('GET', KEYS[1])
`);
