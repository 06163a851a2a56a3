-- Arguments: id, cursor, count, ms until a job counts as left behind. Compares events that are owed with their jobs: people and
-- RQ's own workers may have ended or deleted a job, or taken it out of its queue and died. Returns the next cursor, '0' at the
-- end, the name of the subscription, and how many events are gone with their jobs.
local sub = known(ARGV[1])
if not sub then return {'0', '', 0} end
also_when_full()
local found, suspects, changed, gone = redis.call('ZSCAN', sub.owed, ARGV[2], 'COUNT', ARGV[3]), {}, false, 0
for i = 1, #found[2], 2 do
  local job = found[2][i]
  local status = redis.call('HGET', hash_of(job), 'status')
  if not status or status == 'finished' or status == 'failed' or status == 'stopped' or status == 'canceled' then
    if redis.call('ZREM', sub.owed, job) == 1 and not status then gone = gone + 1 end
    redis.call('ZREM', sub.delayed, job)
  elseif (status == 'queued' or status == 'started') and not redis.call('ZSCORE', sub.delayed, job) and not alive(job) then
    suspects[#suspects + 1] = job
  end
end
if gone > 0 then redis.call('HINCRBY', p .. ':subscription:' .. sub.id, 'gone', gone) end
local result = {found[1], sub.name, gone}
if #suspects == 0 or redis.call('LLEN', queue_key(sub)) > 20000 then return result end -- else it would take too long
local there = {}
for _, list in ipairs({queue_key(sub), queue_key(sub) .. ':intermediate'}) do
  for _, job in ipairs(redis.call('LRANGE', list, 0, -1)) do there[job] = true end
end
for _, job in ipairs(suspects) do
  if there[job] then
    redis.call('DEL', p .. ':seen:' .. job)
  else
    changed = put_back_after(sub, job, tonumber(ARGV[4])) or changed
  end
end
if changed then notify(sub.id) end
return result
