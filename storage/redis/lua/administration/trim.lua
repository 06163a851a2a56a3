-- Arguments: ms, bytes, count. Deletes settled events, oldest first, that are older or exceed the size.
-- Returns 1 if there may be more.
also_when_full()
local before, settled = now() - tonumber(ARGV[1]), tonumber(redis.call('HGET', p .. ':meta', 'settled') or 0)
local forgotten = tonumber(redis.call('HGET', p .. ':meta', 'forgotten') or 0)
local excess, done = settled - tonumber(ARGV[2]), 0
for _, member in ipairs(redis.call('ZRANGE', p .. ':settled', 0, tonumber(ARGV[3]) - 1)) do
  local name, eid, bytes = string.match(member, '^([%d:]+)/([%d-]+)/(%d+)$')
  local time = committed(eid, {})
  if time >= before and excess <= 0 then break end
  redis.call('XDEL', stream(name), eid)
  redis.call('ZREM', p .. ':settled', member)
  excess, settled, done, forgotten = excess - bytes, settled - bytes, done + 1, max(forgotten, time)
end
if done > 0 then redis.call('HSET', p .. ':meta', 'settled', settled, 'forgotten', forgotten) end
return done == tonumber(ARGV[3]) and 1 or 0
