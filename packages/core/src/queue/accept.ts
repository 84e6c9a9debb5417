import { CHANNEL_WORK, HAND_OVER_PREFIX, LUA_KEYS } from '../redis/keys.ts';
import { defineScript } from '../redis/script.ts';
import { DELAYED_SCORE_PER_MS, PRIORITY_SCORE } from './bull-format.ts';
import { LOCK_DURATION_MS } from './lock-times.ts';

/**
 * Accepts a task, or refuses it and leaves nothing behind: limits, payload, job and message in one step. The job is
 * written as BullMQ stores one (bullmq 6, `addPrioritizedJob` and `addDelayedJob`), without the events that only BullMQ's
 * own listeners read. Every job has a priority: BullMQ begins those without one before all others. A task that is known,
 * queued or settled, is not added again.
 *
 * Where nobody is ahead of it and a slot is offered, the job goes straight to that slot, as if its worker had fetched it: it
 * is active, locked with the offer's token, and handed over in a message. An offer whose worker does not hear is dropped.
 * Else it stands in line, and the workers are told if it is the first there: each of them then takes jobs until there
 * is none, or until it has room for no more and looks again when it has.
 *
 * A large payload is staged before and renamed here: its bytes through a script would cost Redis ten times as much.
 *
 * KEYS: that of {@link LUA_KEYS}
 * ARGV: task id, ticket JSON, options JSON, accepted at (ms), due at (ms), payload size (bytes), most waiting tasks, most bytes,
 *       refuse after (ms of Redis's clock; 0: never), expiry of a staged payload (s) or '', priority as BullMQ counts it
 * Returns {1} added, {2} handed over, {0} known already, {-1} too late, {-4} artifact deleted, {-2, waiting} or {-3, bytes} for a backlog that is full.
 */
export const ACCEPT = defineScript(`${LUA_KEYS}
local id, ticket, isStaged = ARGV[1], ARGV[2], ARGV[10] ~= ''
local job, base, stats = queue .. id, taskKeys(id), tag .. 'stats'
local offers, active = tag .. 'offers', queue .. 'active'
local delay = ARGV[5] - ARGV[4]
local function refuse(...)
  if isStaged then redis.call('UNLINK', base .. 'staged-payload') end
  return {...}
end
if redis.call('EXISTS', job, base .. 'outcome') > 0 then return refuse(0) end
if ARGV[9] ~= '0' then
  local now = redis.call('TIME')
  if now[1] * 1000 + math.floor(now[2] / 1000) > tonumber(ARGV[9]) then return refuse(-1) end
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
    if redis.call('PUBLISH', '${HAND_OVER_PREFIX}' .. process, message) > 0 then return offer, process end
    offer = redis.call('RPOP', offers)
  until not offer
  return nil
end

local ahead = redis.call('ZCARD', queue .. 'prioritized') + redis.call('LLEN', queue .. 'wait')
local bytes = redis.call('HINCRBY', stats, 'backlogBytes', ARGV[6])
local function refuseCounted(...)
  redis.call('HINCRBY', stats, 'backlogBytes', -ARGV[6])
  return refuse(...)
end
if bytes > tonumber(ARGV[8]) then return refuseCounted(-3, bytes - ARGV[6]) end
local token, process
if ahead == 0 and delay <= 0 then
  local offer = takeOffer()
  if offer then token, process = handOver(offer) end
end
if not token then
  local waiting = ahead + redis.call('ZCARD', queue .. 'delayed')
  if waiting >= tonumber(ARGV[7]) then return refuseCounted(-2, waiting) end
end
if isStaged then
  redis.call('RENAME', base .. 'staged-payload', base .. 'payload')
  redis.call('EXPIRE', base .. 'payload', ARGV[10])
end
if token then
  redis.call('HSET', job, 'name', 'task', 'data', ticket, 'opts', ARGV[3], 'timestamp', ARGV[4],
    'delay', 0, 'priority', ARGV[11], 'processedOn', ARGV[4], 'pb', process, 'ats', 1)
  redis.call('LPUSH', active, id)
  redis.call('SET', job .. ':lock', token, 'PX', ${LOCK_DURATION_MS})
  return {2}
end
redis.call('HSET', job, 'name', 'task', 'data', ticket, 'opts', ARGV[3], 'timestamp', ARGV[4],
  'delay', math.max(0, delay), 'priority', ARGV[11])
if delay > 0 then
  redis.call('ZADD', queue .. 'delayed', ARGV[5] * ${DELAYED_SCORE_PER_MS}, id)
else
  local turn = redis.call('INCR', queue .. 'pc') % ${PRIORITY_SCORE}
  redis.call('ZADD', queue .. 'prioritized', ARGV[11] * ${PRIORITY_SCORE} + turn, id)
end
if delay > 0 or ahead == 0 then redis.call('PUBLISH', '${CHANNEL_WORK}', qualifiedId()) end
return {1}
`);

/**
 * Ids of jobs that have waited past their queue deadline, among so many of those that wait.
 * KEYS: that of {@link LUA_KEYS}. ARGV: now (ms), how many to pass over, how many to look at
 */
export const OVERDUE = defineScript(`${LUA_KEYS}
local found = {}
local function look(ids)
  for _, id in ipairs(ids) do
    local options = redis.call('HGET', queue .. id, 'opts')
    local deadline = options and string.match(options, '"queueDeadlineMs":(%d+)')
    if deadline and tonumber(deadline) < tonumber(ARGV[1]) then found[#found + 1] = id end
  end
end
local from, count = tonumber(ARGV[2]), tonumber(ARGV[3])
look(redis.call('LRANGE', queue .. 'wait', -(from + count), -(from + 1)))
look(redis.call('ZRANGE', queue .. 'prioritized', from, from + count - 1))
look(redis.call('ZRANGE', queue .. 'delayed', '-inf', ARGV[1] * ${DELAYED_SCORE_PER_MS}, 'BYSCORE', 'LIMIT', from, count))
return found
`);

/**
 * Gives jobs that come back to the queue, having been begun in time once, their whole queue wait again.
 * KEYS: job. ARGV: now (ms)
 */
export const RENEW_DEADLINE = defineScript(`
local options = redis.call('HGET', KEYS[1], 'opts')
local wait = options and string.match(options, '"queueMs":(%d+)')
if wait then
  local renewed = string.gsub(options, '"queueDeadlineMs":%d+', string.format('"queueDeadlineMs":%.0f', ARGV[1] + wait))
  redis.call('HSET', KEYS[1], 'opts', renewed)
end
`);

/**
 * Writes a job's ticket anew, for the worker that holds it.
 * KEYS: job. ARGV: token of its lock, ticket JSON
 */
export const REWRITE_TICKET = defineScript(`
if redis.call('GET', KEYS[1] .. ':lock') == ARGV[1] then redis.call('HSET', KEYS[1], 'data', ARGV[2]) end
`);
