import { defineScript } from '../redis/script.ts';

/**
 * The one place where a task gets its outcome. First writer wins: a later one is handed the outcome that stands, and
 * nothing of what it brought is written. In one step it writes outcome, result and log, indexes and counts the task,
 * lets go of its payload, forgets what is over the count, and tells whoever waits.
 * A large result is staged before and renamed here: its bytes through a script would cost Redis ten times as much.
 *
 * Lua for a script whose first keys and arguments are these; it defines `settle()`, which returns the outcome that stood
 * before, or false.
 *
 * KEYS: outcome, settled index, stats
 * ARGV: outcome JSON, ULID, retention (s), kept per status, task key prefix, reply channel or '', status,
 *       run time (ms), queue wait (ms), weight of the newest, payload size (bytes), log lines or '', key of a staged
 *       result or '', ticket JSON for a retry by hand or '', 1 where nothing lies beside the job: no payload, and
 *       nothing of an earlier attempt or run
 */
export const SETTLE_FUNCTION = `
local function settle()
local standing = redis.call('GET', KEYS[1])
if standing and ARGV[13] ~= '' then redis.call('UNLINK', ARGV[13]) end
if standing then return standing end
if ARGV[13] ~= '' and redis.call('EXISTS', ARGV[13]) == 0 then return redis.error_reply('TRYAGAIN the staged result is gone') end
local base = ARGV[5] .. ARGV[2]
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])
if ARGV[13] ~= '' then
  redis.call('RENAME', ARGV[13], base .. ':result')
  redis.call('EXPIRE', base .. ':result', ARGV[3])
end
if ARGV[12] ~= '' then redis.call('APPEND', base .. ':logs', ARGV[12]) end
if ARGV[12] ~= '' or ARGV[15] ~= '1' then redis.call('EXPIRE', base .. ':logs', ARGV[3]) end
if ARGV[14] ~= '' then redis.call('SET', base .. ':ticket', ARGV[14], 'EX', ARGV[3]) end
if ARGV[15] ~= '1' then
  redis.call('EXPIRE', base .. ':attempts', ARGV[3])
  redis.call('DEL', base .. ':losses')
  if ARGV[14] ~= '' then redis.call('EXPIRE', base .. ':payload', ARGV[3]) else redis.call('UNLINK', base .. ':payload') end
end
redis.call('ZADD', KEYS[2], 0, ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[3])
local over = redis.call('ZCARD', KEYS[2]) - tonumber(ARGV[4])
if over > 0 then
  local oldest = redis.call('ZPOPMIN', KEYS[2], math.min(over, 16))
  for i = 1, #oldest, 2 do
    local old = ARGV[5] .. oldest[i]
    local outcome = redis.call('GET', old .. ':outcome')
    if outcome and not string.find(outcome, '"keyed":true', 1, true) then
      redis.call('UNLINK', old .. ':outcome', old .. ':payload', old .. ':result', old .. ':logs', old .. ':attempts',
        old .. ':ticket', old .. ':retriedAs')
    end
  end
end
local before = redis.call('HMGET', KEYS[3], ARGV[7], 'backlogBytes', 'runMsSum', 'runMs', 'queuedMs')
local function sum(old, more) return string.format('%.3f', tonumber(old or 0) + more) end
local function average(old, new)
  if not old then return new end
  return tostring(tonumber(old) + (tonumber(new) - tonumber(old)) * tonumber(ARGV[10]))
end
local stats = {
  ARGV[7], string.format('%.0f', tonumber(before[1] or 0) + 1),
  'backlogBytes', string.format('%.0f', math.max(0, tonumber(before[2] or 0) - tonumber(ARGV[11]))),
  'runMsSum', sum(before[3], tonumber(ARGV[8])),
}
if ARGV[7] == 'completed' then
  stats[7], stats[8] = 'runMs', average(before[4], ARGV[8])
  stats[9], stats[10] = 'queuedMs', average(before[5], ARGV[9])
end
redis.call('HSET', KEYS[3], unpack(stats))
if ARGV[6] ~= '' then redis.call('PUBLISH', ARGV[6], ARGV[1]) end
local waiters = redis.call('SMEMBERS', base .. ':waiters')
if #waiters > 0 then
  for _, channel in ipairs(waiters) do redis.call('PUBLISH', channel, ARGV[1]) end
  redis.call('DEL', base .. ':waiters')
end
return false
end
`;

/** Settles a task, and nothing else. KEYS, ARGV: those of {@link SETTLE_FUNCTION}. Returns what `settle()` does. */
export const SETTLE = defineScript(`${SETTLE_FUNCTION}return settle()`);

/**
 * Records an attempt that failed and is followed by another, with its log; once, and only for the worker that holds the
 * job: one that has lost it is late, and changes nothing.
 *
 * KEYS: outcome, attempts, logs, payload, lock of the job, active jobs
 * ARGV: attempts recorded before it, attempt JSON, log lines, how long to keep them (s), token of the lock, task id
 * Returns the outcome where the task has one, 1 where the attempt stands recorded, 0 where it came too late.
 */
export const RECORD_ATTEMPT = defineScript(`
local outcome = redis.call('GET', KEYS[1])
if outcome then return outcome end
local holder = redis.call('GET', KEYS[5])
if holder ~= ARGV[5] and (holder or not redis.call('LPOS', KEYS[6], ARGV[6])) then return 0 end
if redis.call('LLEN', KEYS[2]) ~= tonumber(ARGV[1]) then
  if redis.call('LINDEX', KEYS[2], -1) == ARGV[2] then return 1 end
  return 0
end
redis.call('RPUSH', KEYS[2], ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[4])
redis.call('APPEND', KEYS[3], ARGV[3])
redis.call('EXPIRE', KEYS[3], ARGV[4])
redis.call('EXPIRE', KEYS[4], ARGV[4])
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
