--- Accepts a task, or refuses it and leaves nothing behind: limits, payload, job and message in one step. The job is
--- written as BullMQ stores one (bullmq 6, `addPrioritizedJob` and `addDelayedJob`), without the events that only BullMQ's
--- own listeners read. Every job has a priority: BullMQ begins those without one before all others. A task that is known,
--- queued or settled, is not added again.
---
--- Where nobody is ahead of it and a slot is offered, the job goes straight to that slot, as if its worker had fetched it: it
--- is active, locked with the offer's token, and handed over in a message. An offer whose worker does not hear is dropped.
--- Else it stands in line, and the workers are told if it is the first there: each of them then takes jobs until there
--- is none, or until it has room for no more and looks again when it has.
---
--- A large payload is staged before and renamed here: its bytes through a script would cost Redis ten times as much.
---
--- @key queue
--- @arg taskId
--- @arg ticket            as JSON
--- @arg options           of the job, as JSON
--- @arg acceptedAtMs
--- @arg dueAtMs
--- @arg payloadBytes
--- @arg mostWaiting       tasks that may wait
--- @arg mostBytes         bytes that payloads of tasks which are not settled may hold
--- @arg refuseAfterMs     on Redis's clock; 0 for never
--- @arg stagedForS        how long a staged payload is kept from now on, or '' where none is staged
--- @arg priority          as BullMQ counts it
--- @return {1} added, {2} handed over, {0} known already, {-1} too late, {-4} artifact deleted, {-2, waiting} or {-3, bytes} for
---   a backlog that is full
---
--- @include "../../redis/lua/keys"
--- @const CHANNEL_WORK
--- @const DELAYED_SCORE_PER_MS
--- @const HAND_OVER_PREFIX
--- @const LOCK_DURATION_MS
--- @const PRIORITY_SCORE

local isStaged = stagedForS ~= ''
local job, base, stats = queue .. taskId, taskKeys(taskId), tag .. 'stats'
local offers, active = tag .. 'offers', queue .. 'active'
local delay = dueAtMs - acceptedAtMs

local function refuse(...)
  if isStaged then redis.call('UNLINK', base .. 'staged-payload') end
  return {...}
end

if redis.call('EXISTS', job, base .. 'outcome') > 0 then return refuse(0) end
if refuseAfterMs ~= '0' then
  local now = redis.call('TIME')
  if now[1] * 1000 + math.floor(now[2] / 1000) > tonumber(refuseAfterMs) then return refuse(-1) end
end
if redis.call('HEXISTS', tag .. 'artifact', 'deleted') == 1 then return refuse(-4) end
if isStaged and redis.call('EXISTS', base .. 'staged-payload') == 0 then return {-1} end

local function takeOffer()
  local offer = redis.call('RPOP', offers)
  if not offer then return nil end
  local meta = redis.call('HMGET', queue .. 'meta', 'paused', 'concurrency')
  if not meta[1] and not (meta[2] and redis.call('LLEN', active) >= tonumber(meta[2])) then return offer end
  redis.call('RPUSH', offers, offer)
  return nil
end

local function handOver(offer)
  repeat
    local process = string.sub(offer, 1, string.find(offer, ':', 1, true) - 1)
    local message = offer .. ' ' .. qualifiedId() .. ' ' .. ticket
    if redis.call('PUBLISH', HAND_OVER_PREFIX .. process, message) > 0 then return offer, process end
    offer = redis.call('RPOP', offers)
  until not offer
  return nil
end

local ahead = redis.call('ZCARD', queue .. 'prioritized') + redis.call('LLEN', queue .. 'wait')
local bytes = redis.call('HINCRBY', stats, 'backlogBytes', payloadBytes)

local function refuseCounted(...)
  redis.call('HINCRBY', stats, 'backlogBytes', -payloadBytes)
  return refuse(...)
end

if bytes > tonumber(mostBytes) then return refuseCounted(-3, bytes - payloadBytes) end
local token, process
if ahead == 0 and delay <= 0 then
  local offer = takeOffer()
  if offer then token, process = handOver(offer) end
end
if not token then
  local waiting = ahead + redis.call('ZCARD', queue .. 'delayed')
  if waiting >= tonumber(mostWaiting) then return refuseCounted(-2, waiting) end
end
if isStaged then
  redis.call('RENAME', base .. 'staged-payload', base .. 'payload')
  redis.call('EXPIRE', base .. 'payload', stagedForS)
end
if token then
  redis.call('HSET', job, 'name', 'task', 'data', ticket, 'opts', options, 'timestamp', acceptedAtMs,
    'delay', 0, 'priority', priority, 'processedOn', acceptedAtMs, 'pb', process, 'ats', 1)
  redis.call('LPUSH', active, taskId)
  redis.call('SET', job .. ':lock', token, 'PX', LOCK_DURATION_MS)
  return {2}
end
redis.call('HSET', job, 'name', 'task', 'data', ticket, 'opts', options, 'timestamp', acceptedAtMs,
  'delay', math.max(0, delay), 'priority', priority)
if delay > 0 then
  redis.call('ZADD', queue .. 'delayed', dueAtMs * DELAYED_SCORE_PER_MS, taskId)
else
  local turn = redis.call('INCR', queue .. 'pc') % PRIORITY_SCORE
  redis.call('ZADD', queue .. 'prioritized', priority * PRIORITY_SCORE + turn, taskId)
end
if delay > 0 or ahead == 0 then redis.call('PUBLISH', CHANNEL_WORK, qualifiedId()) end
return {1}
