--- Adds frames and lines of a log to what a task has given; in order, once, only for the worker that holds its job, and not
--- after its outcome. The hash `output` says how far it has come; who sends a command again is told that it stands.
---
--- Publishes what parseOutputMessage (output-store.ts) reads; the frames in it, or in the message after it.
---
--- @key queue
--- @arg taskId
--- @arg token             what the job is locked with
--- @arg lifetimeS         how long output is kept, or '' where that was said
--- @arg channel           of the task
--- @arg sender            channel on which the worker hears how far readers are
--- @arg framesBefore      number before the first of these frames,
--- @arg framesAfter       and of the last
--- @arg frames            packed
--- @arg bytes             of all frames with these
--- @arg chunks            with these
--- @arg trimBelow         frames with smaller numbers go; 0 for none
--- @arg linesBefore       last number of the lines so far,
--- @arg linesAfter        and of these
--- @arg lines             JSON, each with its line feed
--- @arg dropLogs          so many of the oldest batches of lines go
--- @arg progress          JSON, or ''
--- @arg firstLineAfter    number before the first of these lines: larger than linesBefore where some were dropped
--- @return how many processes have heard, `late` where the job is another's, `settled` where the task has its outcome
---
--- @include "../../redis/lua/keys"
--- @const MOST_TO_JOIN
--- @const MOST_TO_PUBLISH

local base = taskKeys(taskId)
if redis.call('EXISTS', base .. 'outcome') == 1 then return 'settled' end
local holder = redis.call('GET', queue .. taskId .. ':lock')
if holder ~= token and (holder or not redis.call('LPOS', queue .. 'active', taskId)) then return 'late' end
local at = redis.call('HMGET', base .. 'output', 'frames', 'lines')
local isNew = (at[1] or '0') == framesBefore and (at[2] or '0') == linesBefore
if isNew then
  if #frames > 0 then
    redis.call('XADD', base .. 'frames', framesAfter .. '-0', 'after', framesBefore, 'bytes', bytes, 'frames', frames)
    if trimBelow ~= '0' then redis.call('XTRIM', base .. 'frames', 'MINID', trimBelow .. '-0') end
  end
  if #lines > 0 then
    redis.call('RPUSH', base .. 'log', firstLineAfter .. ' ' .. framesBefore .. '\n' .. lines)
    if dropLogs ~= '0' then redis.call('LPOP', base .. 'log', dropLogs) end
  end
  redis.call('HSET', base .. 'output', 'frames', framesAfter, 'bytes', bytes, 'chunks', chunks, 'lines', linesAfter)
  if progress ~= '' then redis.call('HSET', base .. 'output', 'progress', progress) end
  if lifetimeS ~= '' then
    for _, key in ipairs({ 'output', 'frames', 'log' }) do redis.call('EXPIRE', base .. key, lifetimeS) end
  end
elseif at[1] ~= framesAfter or at[2] ~= linesAfter then
  return 'late'
end
if #frames + #lines > MOST_TO_PUBLISH then frames, lines = '', '' end
local isApart = #frames > MOST_TO_JOIN
local head = table.concat({
  'output', framesBefore, framesAfter, bytes, firstLineAfter, linesAfter, isApart and 'apart' or #frames, sender
}, ' ')
local heard = redis.call('PUBLISH', channel, head .. '\n' .. (isApart and '' or frames) .. lines)
if isApart then redis.call('PUBLISH', channel, frames) end
return heard
