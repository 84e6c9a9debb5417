import { CHANNEL_WORK, LUA_KEYS } from '../redis/keys.ts';
import { defineScript } from '../redis/script.ts';
import { SETTLE_FUNCTION } from '../store/task-scripts.ts';
import { TAKE_FUNCTION } from './next-job.ts';

/** Failed jobs that are kept per queue, for Bull Board; and how many over that go at once. */
const KEPT_JOBS = 100;
const KEPT_OVER = 20;
/** Offers of one artifact: those that are oldest go, as those of dead workers do. */
const MOST_OFFERS = 10_000;

/**
 * The end of a task at its worker, in one step: settles it, ends its job, and gives the slot that it used the next job, or
 * offers the slot where there is none. The job is ended as BullMQ does (bullmq 6, `moveToFinished` with `removeOnComplete`), without
 * the events, and failed ones that are kept for Bull Board over their number go many at a time.
 *
 * A job whose lock has run out is still the worker's as long as nobody else has taken it. One that is not the worker's any more
 * stays as it is, and then the slot gets nothing: this may be the same command sent again, because its answer was lost.
 *
 * Where the slot is to have no other job of a queue that is at its limit, those who wait for that are told.
 *
 * KEYS: that of {@link LUA_KEYS}
 * ARGV: those of {@link SETTLE_FUNCTION}, then
 *   15 now (ms), 16 token, 17 job data to keep where it failed, 18 why it failed or '', 19 token for the next job or '' for none, 20 worker id,
 *   21 whether to offer the slot (1 or 0), 22 most bytes that settled tasks may hold
 * Returns {outcome that stood before or false, whether the job was the worker's (1 or 0), next job or false, next due (ms) or
 *   false, whether the slot is offered (1 or 0)}
 */
export const END = defineScript(`${LUA_KEYS}${SETTLE_FUNCTION}${TAKE_FUNCTION}
local standing = settle(tonumber(ARGV[22]))
if type(standing) == 'table' then return standing end
local id = ARGV[2]
local job = queue .. id
local lock = job .. ':lock'
local holder = redis.call('GET', lock)
local isOurs = 0
if holder == ARGV[16] or not holder then
  if holder then redis.call('DEL', lock) end
  isOurs = redis.call('LREM', queue .. 'active', -1, id)
end
if isOurs == 1 then
  if ARGV[18] == '' then
    redis.call('UNLINK', job)
  else
    local failed = queue .. 'failed'
    redis.call('HSET', job, 'data', ARGV[17], 'failedReason', ARGV[18], 'finishedOn', ARGV[15], 'atm', 1)
    redis.call('ZADD', failed, ARGV[15], id)
    local over = redis.call('ZCARD', failed) - ${KEPT_JOBS}
    if over >= ${KEPT_OVER} then
      local oldest = redis.call('ZPOPMIN', failed, math.min(over, 1000))
      local jobs = {}
      for i = 1, #oldest, 2 do jobs[#jobs + 1] = queue .. oldest[i] end
      redis.call('UNLINK', unpack(jobs))
    end
  end
end
if ARGV[19] == '' and redis.call('HEXISTS', queue .. 'meta', 'concurrency') == 1
  and redis.call('LLEN', queue .. 'wait') + redis.call('ZCARD', queue .. 'prioritized') > 0 then
  redis.call('PUBLISH', '${CHANNEL_WORK}', qualifiedId())
end
if ARGV[19] == '' or isOurs == 0 then return {standing, isOurs, false, false, 0} end
local next, dueAt, isOpen = take(tonumber(ARGV[15]), ARGV[19], ARGV[20])
if next or not isOpen or ARGV[21] ~= '1' then return {standing, isOurs, next, dueAt, 0} end
if redis.call('RPUSH', tag .. 'offers', ARGV[19]) > ${MOST_OFFERS} then redis.call('LPOP', tag .. 'offers') end
return {standing, isOurs, false, dueAt, 1}
`);
