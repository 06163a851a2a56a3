-- Arguments: id, cursor, count, time as text. Compares events that are owed with their jobs, which people and RQ's own workers
-- may have ended or deleted. Returns the next cursor, '0' at the end.
local sub = known(ARGV[1])
if not sub then return '0' end
also_when_full()
local found = redis.call('ZSCAN', sub.owed, ARGV[2], 'COUNT', ARGV[3])
for i = 1, #found[2], 2 do
  local status = redis.call('HGET', hash_of(found[2][i]), 'status')
  if not status or status == 'finished' or status == 'failed' or status == 'stopped' or status == 'canceled' then
    redis.call('ZREM', sub.owed, found[2][i])
    redis.call('ZREM', sub.delayed, found[2][i])
  end
end
return found[1]
