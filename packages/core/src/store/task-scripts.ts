import { LUA_KEYS, MARKS, ULID_LENGTH } from '../redis/keys.ts';
import { defineScript } from '../redis/script.ts';
import { KEPT_FUNCTIONS, LIGHT_BYTES } from './kept-scripts.ts';
import { FIGURES_FORMAT, FIGURES_PREFIX } from './stats.ts';

/** Weight of the newest task in the running averages of waits and run times. */
const AVERAGE_WEIGHT = 0.1;
/** Everything of a task but its outcome. */
const BESIDE = "'payload', 'result', 'log', 'attempts', 'output', 'frames', 'ticket', 'retriedAs', 'retries'";
/** Tasks over the count that are forgotten together, one command for all of them, where the count is not small. */
const FORGOTTEN_AT_ONCE = 16;
const SMALL_COUNT = 1000;

/**
 * The one place where a task gets its outcome. First writer wins: a later one is handed the outcome that stands, and
 * nothing of what it brought is written. In one step it writes outcome, result and log, indexes and counts the task,
 * lets go of its payload, forgets what is over the count, lets go of the oldest bytes where they are more than may be kept, and
 * tells whoever waits.
 * A large result is staged before and renamed here: its bytes through a script would cost Redis ten times as much.
 *
 * Lua for a script that has {@link LUA_KEYS} before it and these arguments first; it defines `settle(mostKeptBytes)`, which
 * returns the outcome that stood before, or false.
 *
 * ARGV: outcome JSON, task id, retention (s), kept per status, reply channel or '', status, run time (ms), queue wait (ms),
 *       payload size (bytes), batch of log lines or '', key of a staged result or '', ticket JSON for a retry by hand or '',
 *       retention of frames (s), or '' where nothing lies beside the job: no payload, no output, and nothing of an earlier
 *       attempt or run, whether it has an Idempotency-Key (1 or 0)
 */
export const SETTLE_FUNCTION = `${KEPT_FUNCTIONS}
local function forget(oldest)
local keys, bytes = {}, 0
for i = 1, #oldest, 2 do
  local ulid, mark = string.sub(oldest[i], 1, ${ULID_LENGTH}), string.sub(oldest[i], ${ULID_LENGTH + 1}, ${ULID_LENGTH + 1})
  local base = taskKeys(ulid)
  if mark ~= '${MARKS.keyed}' then keys[#keys + 1] = base .. 'outcome' end
  if mark == '${MARKS.more}' then
    for _, name in ipairs({${BESIDE}}) do keys[#keys + 1] = base .. name end
    if #oldest[i] > ${ULID_LENGTH + 1} then bytes = bytes + noLongerKept(ulid, string.sub(oldest[i], ${ULID_LENGTH + 2})) end
  end
end
if bytes > 0 then redis.call('HINCRBY', tag .. 'stats', 'keptBytes', -bytes) end
if #keys > 0 then redis.call('UNLINK', unpack(keys)) end
end

local function settle(mostKept)
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
  redis.call('DEL', base .. 'losses', base .. 'suspicion')
  if ARGV[12] ~= '' then redis.call('EXPIRE', base .. 'payload', ARGV[3]) else redis.call('UNLINK', base .. 'payload') end
end
local index, stats = tag .. 'settled:' .. ARGV[6], tag .. 'stats'
local mark, sizes = '${MARKS.alone}', ''
local hasMore = ARGV[10] ~= '' or ARGV[11] ~= '' or ARGV[12] ~= '' or ARGV[13] ~= ''
if hasMore or #ARGV[1] > ${LIGHT_BYTES} then
  local size, frames = #ARGV[10] + #ARGV[12], 0
  if ARGV[6] == 'completed' then size = size + #ARGV[1] end
  if ARGV[11] ~= '' then size = size + redis.call('STRLEN', base .. 'result') end
  if ARGV[13] ~= '' then
    size = size - #ARGV[10] + sizeOf(base .. 'log') + sizeOf(base .. 'attempts') + redis.call('STRLEN', base .. 'payload')
    frames = sizeOf(base .. 'frames')
  end
  if size > ${LIGHT_BYTES} then sizes = 'b' .. string.format('%d', size) end
  if frames > 0 then sizes = sizes .. 'f' .. string.format('%d', frames) end
end
if ARGV[14] == '1' then mark = '${MARKS.keyed}' .. sizes
elseif hasMore or sizes ~= '' then mark = '${MARKS.more}' .. sizes end
redis.call('ZADD', index, 0, string.sub(ARGV[2], -${ULID_LENGTH}) .. mark)
redis.call('EXPIRE', index, ARGV[3])
local kept = tonumber(ARGV[4])
local over = redis.call('ZCARD', index) - kept
if over >= (kept < ${SMALL_COUNT} and 1 or ${FORGOTTEN_AT_ONCE}) then
  forget(redis.call('ZPOPMIN', index, math.min(over, ${FORGOTTEN_AT_ONCE})))
end
if sizes ~= '' then keep(string.sub(ARGV[2], -${ULID_LENGTH}), sizes, tonumber(ARGV[3]), mostKept) end
local figures = '${FIGURES_PREFIX}' .. ARGV[6]
local before = redis.call('HMGET', stats, 'backlogBytes', figures)
local settled, runMsSum, runMs, queuedMs = 0, 0, tonumber(ARGV[7]), tonumber(ARGV[8])
if before[2] then
  local averageRunMs, averageQueuedMs
  settled, runMsSum, averageRunMs, averageQueuedMs = struct.unpack('${FIGURES_FORMAT}', before[2])
  runMs = averageRunMs + (runMs - averageRunMs) * ${AVERAGE_WEIGHT}
  queuedMs = averageQueuedMs + (queuedMs - averageQueuedMs) * ${AVERAGE_WEIGHT}
end
redis.call('HSET', stats, 'backlogBytes', math.max(0, tonumber(before[1] or 0) - ARGV[9]),
  figures, struct.pack('${FIGURES_FORMAT}', settled + 1, runMsSum + ARGV[7], runMs, queuedMs))
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
 * Settles a task, and nothing else. KEYS: that of {@link LUA_KEYS}; ARGV: those of {@link SETTLE_FUNCTION}, then 15 most bytes that
 * settled tasks may hold. Returns what `settle()` does.
 */
export const SETTLE = defineScript(`${LUA_KEYS}${SETTLE_FUNCTION}return settle(tonumber(ARGV[15]))`);

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
 * Maps an idempotency key of an artifact to the first that was claimed with it, and lists it, so that it can go with the artifact.
 * KEYS: mapping, list of keys. ARGV: value, retention (s), the key
 * Returns false where the key was free, else the value that holds it.
 */
export const CLAIM_KEY = defineScript(`
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'EX', ARGV[2]) then return redis.call('GET', KEYS[1]) end
local now = tonumber(redis.call('TIME')[1])
local expired = redis.call('ZRANGE', KEYS[2], '-inf', now, 'BYSCORE', 'LIMIT', 0, ${FORGOTTEN_AT_ONCE})
if #expired > 0 then redis.call('ZREM', KEYS[2], unpack(expired)) end
redis.call('ZADD', KEYS[2], now + ARGV[2], ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[2])
return false
`);

/**
 * Maps a key to the first that was claimed with it.
 * KEYS: mapping. ARGV: value, retention (s). Returns false where the key was free, else the value that holds it.
 */
export const CLAIM = defineScript(`
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'EX', ARGV[2]) then return false end
return redis.call('GET', KEYS[1])
`);

/**
 * Maps a field to the first that was claimed with it.
 * KEYS: hash. ARGV: value, retention (s), field. Returns false where the field was free, else the value that holds it.
 */
export const CLAIM_FIELD = defineScript(`
if redis.call('HSETNX', KEYS[1], ARGV[3], ARGV[1]) == 0 then return redis.call('HGET', KEYS[1], ARGV[3]) end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return false
`);
