-- Arguments: id, cursor, count, ms until a job counts as left behind. Compares events that are owed with their jobs: people and
-- RQ's own workers may have ended or deleted a job, or taken it out of its queue and died. Returns the next cursor, '0' at the
-- end.
local sub = known(ARGV[1])
if not sub then return '0' end
also_when_full()
local found, suspects, changed = redis.call('ZSCAN', sub.owed, ARGV[2], 'COUNT', ARGV[3]), {}, false
for i = 1, #found[2], 2 do
  local job = found[2][i]
  local status = redis.call('HGET', hash_of(job), 'status')
  if not status or status == 'finished' or status == 'failed' or status == 'stopped' or status == 'canceled' then
    redis.call('ZREM', sub.owed, job)
    redis.call('ZREM', sub.delayed, job)
  elseif (status == 'queued' or status == 'started') and not redis.call('ZSCORE', sub.delayed, job) and not alive(job) then
    suspects[#suspects + 1] = job
  end
end
if #suspects == 0 or redis.call('LLEN', queue_key(sub)) > 20000 then return found[1] end -- else it would take too long
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
return found[1]
