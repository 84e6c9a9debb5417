--- Renews the locks of jobs. One that has run out is taken again where nobody else has the job: Redis may have been away
--- for longer than a lock lasts, and then those who run the tasks should go on with them. (BullMQ's own script renews a lock
--- that stands and nothing else.)
---
--- @key active
--- @key stalled
--- @arg jobPrefix         what the keys of jobs begin with
--- @arg lockMs            how long a lock lasts from now on
--- @arg ...jobs           id and token of each job in turn
--- @return the ids of jobs that are no longer held

local lost = {}
for i = 1, #jobs, 2 do
  local id, token = jobs[i], jobs[i + 1]
  local lock = jobPrefix .. id .. ':lock'
  local holder = redis.call('GET', lock)
  if holder == token or (not holder and redis.call('LPOS', active, id)) then
    redis.call('SET', lock, token, 'PX', lockMs)
    redis.call('SREM', stalled, id)
  else
    lost[#lost + 1] = id
  end
end
return lost
