--- Settles a task. This is the one place where a task gets its outcome. First writer wins: a later one is handed the outcome that
--- stands, and nothing of what it brought is written. In one step it writes outcome, result and log, indexes and counts the task,
--- lets go of its payload, forgets what is over the count, lets go of the oldest bytes where they are more than may be kept, and
--- tells whoever waits.
---
--- A large result is staged before and renamed here: its bytes through a script would cost Redis ten times as much.
---
--- @key queue
--- @arg taskId
--- @arg outcome           as JSON
--- @arg ageS              how long the outcome is kept
--- @arg keptCount         how many tasks of this status are kept
--- @arg replyTo           channel of the caller, or ''
--- @arg status
--- @arg runMs
--- @arg queuedMs
--- @arg payloadBytes
--- @arg logLines          a batch of lines, or ''
--- @arg stagedResult      key of the staged result, or ''
--- @arg retryTicket       ticket as JSON, for a retry by hand, or ''
--- @arg framesAgeS        how long frames are kept; or '' where nothing lies beside the job: no payload, no output, and nothing of an
---   earlier attempt or run
--- @arg isKeyed           1 where it has an Idempotency-Key, else 0
--- @arg mostKeptBytes     bytes that settled tasks of the artifact may hold
---
--- @include "keep"
--- @include "no-longer-kept"
--- @const AVERAGE_WEIGHT
--- @const BESIDE
--- @const FIGURES_FORMAT
--- @const FIGURES_PREFIX
--- @const FORGOTTEN_AT_ONCE
--- @const LIGHT_BYTES
--- @const MARK_ALONE
--- @const MARK_KEYED
--- @const MARK_MORE
--- @const SMALL_COUNT
--- @const ULID_LENGTH
---
--- Defines `settle()`, which returns the outcome that stood before, or false, or an error as a table.

local function forget(oldest)
  local keys, bytes = {}, 0
  for i = 1, #oldest, 2 do
    local member = oldest[i]
    local ulid, mark = string.sub(member, 1, ULID_LENGTH), string.sub(member, ULID_LENGTH + 1, ULID_LENGTH + 1)
    local base = taskKeys(ulid)
    if mark ~= MARK_KEYED then keys[#keys + 1] = base .. 'outcome' end
    if mark == MARK_MORE then
      for _, name in ipairs(BESIDE) do keys[#keys + 1] = base .. name end
      if #member > ULID_LENGTH + 1 then bytes = bytes + noLongerKept(ulid, string.sub(member, ULID_LENGTH + 2)) end
    end
  end
  if bytes > 0 then redis.call('HINCRBY', tag .. 'stats', 'keptBytes', -bytes) end
  if #keys > 0 then redis.call('UNLINK', unpack(keys)) end
end

local function sizeOf(key)
  return redis.call('MEMORY', 'USAGE', key) or 0
end

local function settle()
  local base = taskKeys(taskId)
  local standing = redis.call('GET', base .. 'outcome')
  if standing and stagedResult ~= '' then redis.call('UNLINK', stagedResult) end
  if standing then return standing end
  if stagedResult ~= '' and redis.call('EXISTS', stagedResult) == 0 then
    return redis.error_reply('TRYAGAIN the staged result is gone')
  end
  redis.call('SET', base .. 'outcome', outcome, 'EX', ageS)
  if stagedResult ~= '' then
    redis.call('RENAME', stagedResult, base .. 'result')
    redis.call('EXPIRE', base .. 'result', ageS)
  end
  if logLines ~= '' then redis.call('RPUSH', base .. 'log', logLines) end
  if logLines ~= '' or framesAgeS ~= '' then redis.call('EXPIRE', base .. 'log', ageS) end
  if retryTicket ~= '' then redis.call('SET', base .. 'ticket', retryTicket, 'EX', ageS) end
  if framesAgeS ~= '' then
    redis.call('EXPIRE', base .. 'attempts', ageS)
    redis.call('EXPIRE', base .. 'output', ageS)
    redis.call('EXPIRE', base .. 'frames', framesAgeS)
    redis.call('DEL', base .. 'losses', base .. 'suspicion')
    if retryTicket ~= '' then redis.call('EXPIRE', base .. 'payload', ageS) else redis.call('UNLINK', base .. 'payload') end
  end
  local index, stats = tag .. 'settled:' .. status, tag .. 'stats'
  local mark, sizes = MARK_ALONE, ''
  local hasMore = logLines ~= '' or stagedResult ~= '' or retryTicket ~= '' or framesAgeS ~= ''
  if hasMore or #outcome > LIGHT_BYTES then
    local size, frames = #logLines + #retryTicket, 0
    if status == 'completed' then size = size + #outcome end
    if stagedResult ~= '' then size = size + redis.call('STRLEN', base .. 'result') end
    if framesAgeS ~= '' then
      size = size - #logLines + sizeOf(base .. 'log') + sizeOf(base .. 'attempts') + redis.call('STRLEN', base .. 'payload')
      frames = sizeOf(base .. 'frames')
    end
    if size > LIGHT_BYTES then sizes = 'b' .. string.format('%d', size) end
    if frames > 0 then sizes = sizes .. 'f' .. string.format('%d', frames) end
  end
  if isKeyed == '1' then mark = MARK_KEYED .. sizes
  elseif hasMore or sizes ~= '' then mark = MARK_MORE .. sizes end
  local ulid = string.sub(taskId, -ULID_LENGTH)
  redis.call('ZADD', index, 0, ulid .. mark)
  redis.call('EXPIRE', index, ageS)
  local most = tonumber(keptCount)
  local over = redis.call('ZCARD', index) - most
  if over >= (most < SMALL_COUNT and 1 or FORGOTTEN_AT_ONCE) then
    forget(redis.call('ZPOPMIN', index, math.min(over, FORGOTTEN_AT_ONCE)))
  end
  if sizes ~= '' then keep(ulid, sizes, tonumber(ageS), tonumber(mostKeptBytes)) end
  local figures = FIGURES_PREFIX .. status
  local before = redis.call('HMGET', stats, 'backlogBytes', figures)
  local settled, runMsSum, averageRunMs, averageQueuedMs = 0, 0, tonumber(runMs), tonumber(queuedMs)
  if before[2] then
    local runMsBefore, queuedMsBefore
    settled, runMsSum, runMsBefore, queuedMsBefore = struct.unpack(FIGURES_FORMAT, before[2])
    averageRunMs = runMsBefore + (averageRunMs - runMsBefore) * AVERAGE_WEIGHT
    averageQueuedMs = queuedMsBefore + (averageQueuedMs - queuedMsBefore) * AVERAGE_WEIGHT
  end
  redis.call('HSET', stats, 'backlogBytes', math.max(0, tonumber(before[1] or 0) - payloadBytes),
    figures, struct.pack(FIGURES_FORMAT, settled + 1, runMsSum + runMs, averageRunMs, averageQueuedMs))
  if replyTo ~= '' then redis.call('PUBLISH', replyTo, outcome) end
  local waiters = redis.call('SMEMBERS', base .. 'waiters')
  if #waiters > 0 then
    for _, channel in ipairs(waiters) do redis.call('PUBLISH', channel, outcome) end
    redis.call('DEL', base .. 'waiters')
  end
  return false
end
