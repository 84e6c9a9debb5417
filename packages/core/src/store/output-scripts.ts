import { LUA_KEYS } from '../redis/keys.ts';
import { defineScript } from '../redis/script.ts';

/** Above so many bytes a message says only what there is, and readers read Redis. */
const MOST_TO_PUBLISH = 512 * 1024;
/** Above so many bytes frames are a message of their own: to put them behind others would be a copy, and Lua's are dear. */
const MOST_TO_JOIN = 4 * 1024;

/**
 * Adds frames and lines of a log to what a task has given; in order, once, only for the worker that holds its job, and not
 * after its outcome. The hash `output` says how far it has come; who sends a command again is told that it stands.
 *
 * KEYS: that of {@link LUA_KEYS}
 * ARGV: task id, lock token, how long to keep it (s) or '' where that was said, channel, channel of the sender,
 *       number before the first frame, of the last frame, packed frames, bytes of all frames with these,
 *       chunks with these, below which frame to trim or 0,
 *       last number of lines so far, of these lines, JSON lines, batches of lines to drop, progress JSON or '',
 *       number before the first of these lines
 * Publishes what {@link parseOutputMessage} reads; the frames in it, or in the message after it.
 * Returns how many processes have heard, `late` where the job is another's, `settled` where the task has its outcome.
 */
export const APPEND_OUTPUT = defineScript(`${LUA_KEYS}
local base = taskKeys(ARGV[1])
if redis.call('EXISTS', base .. 'outcome') == 1 then return 'settled' end
local holder = redis.call('GET', queue .. ARGV[1] .. ':lock')
if holder ~= ARGV[2] and (holder or not redis.call('LPOS', queue .. 'active', ARGV[1])) then return 'late' end
local at = redis.call('HMGET', base .. 'output', 'frames', 'lines')
local isNew = (at[1] or '0') == ARGV[6] and (at[2] or '0') == ARGV[12]
if isNew then
  if #ARGV[8] > 0 then
    redis.call('XADD', base .. 'frames', ARGV[7] .. '-0', 'after', ARGV[6], 'bytes', ARGV[9], 'frames', ARGV[8])
    if ARGV[11] ~= '0' then redis.call('XTRIM', base .. 'frames', 'MINID', ARGV[11] .. '-0') end
  end
  if #ARGV[14] > 0 then
    redis.call('RPUSH', base .. 'log', ARGV[17] .. ' ' .. ARGV[6] .. '\\n' .. ARGV[14])
    if ARGV[15] ~= '0' then redis.call('LPOP', base .. 'log', ARGV[15]) end
  end
  redis.call('HSET', base .. 'output', 'frames', ARGV[7], 'bytes', ARGV[9], 'chunks', ARGV[10], 'lines', ARGV[13])
  if ARGV[16] ~= '' then redis.call('HSET', base .. 'output', 'progress', ARGV[16]) end
  if ARGV[3] ~= '' then
    for _, key in ipairs({ 'output', 'frames', 'log' }) do redis.call('EXPIRE', base .. key, ARGV[3]) end
  end
elseif at[1] ~= ARGV[7] or at[2] ~= ARGV[13] then
  return 'late'
end
local frames, lines = ARGV[8], ARGV[14]
if #frames + #lines > ${MOST_TO_PUBLISH} then frames, lines = '', '' end
local isApart = #frames > ${MOST_TO_JOIN}
local head = table.concat({ 'output', ARGV[6], ARGV[7], ARGV[9], ARGV[17], ARGV[13], isApart and 'apart' or #frames, ARGV[5] }, ' ')
local heard = redis.call('PUBLISH', ARGV[4], head .. '\\n' .. (isApart and '' or frames) .. lines)
if isApart then redis.call('PUBLISH', ARGV[4], frames) end
return heard
`);
