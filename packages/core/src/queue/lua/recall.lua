--- Takes offers of slots back. One that is not there any more has been taken, and then its job is among the active ones,
--- locked with its token; or Redis has lost it. Among several jobs with one token the one that was taken first is found.
---
--- @key queue
--- @arg ...tokens         the token of each offer
--- @return for each offer 1 where it was taken back, 0 where Redis does not know of it, or the job that it was taken for:
---   {id, data, options, stalls, handovers}
---
--- @include "../../redis/lua/keys"

local answers = {}
local taken = {}
for i, token in ipairs(tokens) do
  answers[i] = redis.call('LREM', tag .. 'offers', -1, token)
  if answers[i] == 0 then taken[token] = i end
end
if next(taken) then
  for _, id in ipairs(redis.call('LRANGE', queue .. 'active', 0, -1)) do
    local index = taken[redis.call('GET', queue .. id .. ':lock')]
    if index then
      local fields = redis.call('HMGET', queue .. id, 'data', 'opts', 'stc', 'ats')
      answers[index] = {id, fields[1], fields[2], fields[3], fields[4]}
    end
  end
end
return answers
