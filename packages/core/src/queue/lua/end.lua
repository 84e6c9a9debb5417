--- Ends a task at its worker, in one step: settles it, ends its job, and gives the slot that it used the next job, or offers the slot
--- where there is none. The job is ended as BullMQ does (bullmq 6, `moveToFinished` with `removeOnComplete`), without the
--- events, and failed ones that are kept for Bull Board over their number go many at a time.
---
--- A job whose lock has run out is still the worker's as long as nobody else has taken it. One that is not the worker's any more
--- stays as it is, and then the slot gets nothing: this may be the same command sent again, because its answer was lost.
---
--- Where the slot is to have no other job of a queue that is at its limit, those who wait for that are told.
---
--- Its arguments are those of settle.lua and
--- @key queue
--- @arg nowMs
--- @arg token             what the job is locked with
--- @arg keptData          what is kept of the job where it failed
--- @arg failure           why it failed, or ''
--- @arg nextToken         for the next job or the offer, or '' for none
--- @arg workerId
--- @arg offerSlot         1 where the slot is offered if there is no job for it, else 0
--- @return {outcome that stood before or false, whether the job was the worker's (1 or 0), next job or false, when the next one is
---   due (ms) or false, whether the slot is offered (1 or 0)}
---
--- @include "../../store/lua/settle"
--- @include "take"
--- @const CHANNEL_WORK
--- @const KEPT_JOBS
--- @const KEPT_OVER
--- @const MOST_OFFERS

local standing = settle()
if type(standing) == 'table' then return standing end
local job = queue .. taskId
local lock = job .. ':lock'
local holder = redis.call('GET', lock)
local isOurs = 0
if holder == token or not holder then
  if holder then redis.call('DEL', lock) end
  isOurs = redis.call('LREM', queue .. 'active', -1, taskId)
end
if isOurs == 1 then
  if failure == '' then
    redis.call('UNLINK', job)
  else
    local failed = queue .. 'failed'
    redis.call('HSET', job, 'data', keptData, 'failedReason', failure, 'finishedOn', nowMs, 'atm', 1)
    redis.call('ZADD', failed, nowMs, taskId)
    local over = redis.call('ZCARD', failed) - KEPT_JOBS
    if over >= KEPT_OVER then
      local oldest = redis.call('ZPOPMIN', failed, math.min(over, 1000))
      local jobs = {}
      for i = 1, #oldest, 2 do jobs[#jobs + 1] = queue .. oldest[i] end
      redis.call('UNLINK', unpack(jobs))
    end
  end
end
if nextToken == '' and redis.call('HEXISTS', queue .. 'meta', 'concurrency') == 1
  and redis.call('LLEN', queue .. 'wait') + redis.call('ZCARD', queue .. 'prioritized') > 0 then
  redis.call('PUBLISH', CHANNEL_WORK, qualifiedId())
end
if nextToken == '' or isOurs == 0 then return {standing, isOurs, false, false, 0} end
local nextJob, dueAt, isOpen = take(tonumber(nowMs), nextToken, workerId)
if nextJob or not isOpen or offerSlot ~= '1' then return {standing, isOurs, nextJob, dueAt, 0} end
if redis.call('RPUSH', tag .. 'offers', nextToken) > MOST_OFFERS then redis.call('LPOP', tag .. 'offers') end
return {standing, isOurs, false, dueAt, 1}
