import { defineScript } from '../redis/script.ts';

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
 * KEYS: job, wait, prioritized, delayed, outcome, payload, stats, artifact, staged payload,
 *       priority counter, active, meta, offers
 * ARGV: task id, ticket JSON, options JSON, accepted at (ms), due at (ms), payload size (bytes), most waiting tasks,
 *       most bytes, refuse after (ms of Redis's clock; 0: never), channel, message, expiry of a staged payload (s) or '', priority as BullMQ counts it,
 *       prefix of the channels that jobs are handed over on, lock duration (ms)
 * Returns {1} added, {2} handed over, {0} known already, {-1} too late, {-4} artifact deleted, {-2, waiting} or {-3, bytes} for a backlog that is full.
 */
export const ACCEPT = defineScript(`
local function refuse(...)
  if ARGV[12] ~= '' then redis.call('UNLINK', KEYS[9]) end
  return {...}
end
if redis.call('EXISTS', KEYS[1], KEYS[5]) > 0 then return refuse(0) end
if ARGV[9] ~= '0' then
  local now = redis.call('TIME')
  if now[1] * 1000 + math.floor(now[2] / 1000) > tonumber(ARGV[9]) then return refuse(-1) end
end
if redis.call('HEXISTS', KEYS[8], 'deleted') == 1 then return refuse(-4) end
if ARGV[12] ~= '' and redis.call('EXISTS', KEYS[9]) == 0 then return {-1} end
local ahead = redis.call('LLEN', KEYS[2]) + redis.call('ZCARD', KEYS[3])
local waiting = ahead + redis.call('ZCARD', KEYS[4])
if waiting >= tonumber(ARGV[7]) then return refuse(-2, waiting) end
local bytes = redis.call('HINCRBY', KEYS[7], 'backlogBytes', ARGV[6])
if bytes > tonumber(ARGV[8]) then
  redis.call('HINCRBY', KEYS[7], 'backlogBytes', -ARGV[6])
  return refuse(-3, bytes - ARGV[6])
end
if ARGV[12] ~= '' then
  redis.call('RENAME', KEYS[9], KEYS[6])
  redis.call('EXPIRE', KEYS[6], ARGV[12])
end
local delay = ARGV[5] - ARGV[4]

local function handOver()
  if ahead > 0 or delay > 0 then return nil end
  local offer = redis.call('RPOP', KEYS[13])
  if not offer then return nil end
  local meta = redis.call('HMGET', KEYS[12], 'paused', 'concurrency')
  if meta[1] or meta[2] and redis.call('LLEN', KEYS[11]) >= tonumber(meta[2]) then
    redis.call('RPUSH', KEYS[13], offer)
    return nil
  end
  repeat
    local process = string.match(offer, '^[^:]*')
    local message = offer .. ' ' .. ARGV[11] .. ' ' .. ARGV[2]
    if redis.call('PUBLISH', ARGV[14] .. process, message) > 0 then return offer, process end
    offer = redis.call('RPOP', KEYS[13])
  until not offer
  return nil
end

local token, process = handOver()
if token then
  redis.call('HSET', KEYS[1], 'name', 'task', 'data', ARGV[2], 'opts', ARGV[3], 'timestamp', ARGV[4],
    'delay', 0, 'priority', ARGV[13], 'processedOn', ARGV[4], 'pb', process, 'ats', 1)
  redis.call('LPUSH', KEYS[11], ARGV[1])
  redis.call('SET', KEYS[1] .. ':lock', token, 'PX', ARGV[15])
  return {2}
end
redis.call('HSET', KEYS[1], 'name', 'task', 'data', ARGV[2], 'opts', ARGV[3], 'timestamp', ARGV[4],
  'delay', math.max(0, delay), 'priority', ARGV[13])
if delay > 0 then
  redis.call('ZADD', KEYS[4], ARGV[5] * 4096, ARGV[1])
else
  redis.call('ZADD', KEYS[3], ARGV[13] * 0x100000000 + redis.call('INCR', KEYS[10]) % 0x100000000, ARGV[1])
end
if delay > 0 or ahead == 0 then redis.call('PUBLISH', ARGV[10], ARGV[11]) end
return {1}
`);

/**
 * Ids of jobs that have waited past their queue deadline, among so many of those that wait.
 * KEYS: wait, prioritized, delayed. ARGV: job key prefix, now (ms), how many to pass over, how many to look at
 */
export const OVERDUE = defineScript(`
local found = {}
local function look(ids)
  for _, id in ipairs(ids) do
    local options = redis.call('HGET', ARGV[1] .. id, 'opts')
    local deadline = options and string.match(options, '"queueDeadlineMs":(%d+)')
    if deadline and tonumber(deadline) < tonumber(ARGV[2]) then found[#found + 1] = id end
  end
end
local from, count = tonumber(ARGV[3]), tonumber(ARGV[4])
look(redis.call('LRANGE', KEYS[1], -(from + count), -(from + 1)))
look(redis.call('ZRANGE', KEYS[2], from, from + count - 1))
look(redis.call('ZRANGE', KEYS[3], '-inf', ARGV[2] * 4096, 'BYSCORE', 'LIMIT', from, count))
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
