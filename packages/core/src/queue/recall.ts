import { defineScript } from '../redis/script.ts';

/**
 * Takes offers of slots back. One that is not there any more has been taken, and then its job is among the active ones,
 * locked with its token; or Redis has lost it.
 *
 * KEYS: offers, active
 * ARGV: job key prefix, then the token of each offer
 * Of several jobs with one token the one that was taken first is found.
 * Returns for each offer 1 where it was taken back, 0 where Redis does not know of it, or the job that it was taken for:
 *   {id, data, options, stalls, handovers}
 */
export const RECALL = defineScript(`
local answers = {}
local taken = {}
for i = 2, #ARGV do
  answers[i - 1] = redis.call('LREM', KEYS[1], -1, ARGV[i])
  if answers[i - 1] == 0 then taken[ARGV[i]] = i - 1 end
end
if next(taken) then
  for _, id in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
    local index = taken[redis.call('GET', ARGV[1] .. id .. ':lock')]
    if index then
      local fields = redis.call('HMGET', ARGV[1] .. id, 'data', 'opts', 'stc', 'ats')
      answers[index] = {id, fields[1], fields[2], fields[3], fields[4]}
    end
  end
end
return answers
`);
