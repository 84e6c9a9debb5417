import { defineScript } from '../redis/script.ts';
import { SETTLE_FUNCTION } from '../store/task-scripts.ts';
import { TAKE_FUNCTION } from './next-job.ts';

/**
 * The end of a task at its worker, in one step: settles it, ends its job, and gives the slot that it used the next job, or
 * offers the slot where there is none. The job is ended as BullMQ does (bullmq 6, `moveToFinished`), without the events, and
 * those that are kept for Bull Board over their number go many at a time.
 *
 * A job whose lock has run out is still the worker's as long as nobody else has taken it. One that is not the worker's any more
 * stays as it is, and then the slot gets nothing: this may be the same command sent again, because its answer was lost.
 *
 * Where the slot is to have no other job of a queue that is at its limit, those who wait for that are told.
 *
 * KEYS: those of {@link SETTLE_FUNCTION}, then wait, prioritized, delayed, active, meta, job, finished jobs, offers
 * ARGV: those of {@link SETTLE_FUNCTION}, then
 *   16 job key prefix, 17 now (ms), 18 task id, 19 token, 20 job data to keep, 21 `returnvalue` or `failedReason`, 22 its
 *   value, 23 finished jobs that are kept, 24 how many over that go at once, 25 token for the next job or '' for none,
 *   26 worker id, 27 lock duration (ms), 28 whether to offer the slot (1 or 0), 29 most offers of an artifact,
 *   30 channel, 31 message
 * Returns {outcome that stood before or false, whether the job was the worker's (1 or 0), next job or false, next due (ms) or
 *   false, whether the slot is offered (1 or 0)}
 */
export const END = defineScript(`${SETTLE_FUNCTION}${TAKE_FUNCTION}
local standing = settle()
if type(standing) == 'table' then return standing end
local job, active = KEYS[9], KEYS[7]
local holder = redis.call('GET', job .. ':lock')
local isOurs = 0
if holder == ARGV[19] or not holder then
  if holder then redis.call('DEL', job .. ':lock') end
  isOurs = redis.call('LREM', active, -1, ARGV[18])
end
if isOurs == 1 then
  redis.call('HSET', job, 'data', ARGV[20], ARGV[21], ARGV[22], 'finishedOn', ARGV[17], 'atm', 1)
  redis.call('ZADD', KEYS[10], ARGV[17], ARGV[18])
  local over = redis.call('ZCARD', KEYS[10]) - ARGV[23]
  if over >= tonumber(ARGV[24]) then
    local oldest = redis.call('ZPOPMIN', KEYS[10], math.min(over, 1000))
    local jobs = {}
    for i = 1, #oldest, 2 do jobs[#jobs + 1] = ARGV[16] .. oldest[i] end
    redis.call('UNLINK', unpack(jobs))
  end
end
if ARGV[25] == '' and redis.call('HEXISTS', KEYS[8], 'concurrency') == 1
  and redis.call('LLEN', KEYS[4]) + redis.call('ZCARD', KEYS[5]) > 0 then redis.call('PUBLISH', ARGV[30], ARGV[31]) end
if ARGV[25] == '' or isOurs == 0 then return {standing, isOurs, false, false, 0} end
local next, dueAt, isOpen = take({KEYS[4], KEYS[5], KEYS[6], active, KEYS[8]}, ARGV[16], tonumber(ARGV[17]), ARGV[25],
  ARGV[26], ARGV[27])
if next or not isOpen or ARGV[28] ~= '1' then return {standing, isOurs, next, dueAt, 0} end
if redis.call('RPUSH', KEYS[11], ARGV[25]) > tonumber(ARGV[29]) then redis.call('LPOP', KEYS[11]) end
return {standing, isOurs, false, dueAt, 1}
`);
