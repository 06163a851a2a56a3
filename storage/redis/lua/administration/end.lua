-- Argument: name. Ends a subscription: it gets no more events and no worker can claim any; drop.lua does the rest.
local id = redis.call('HGET', p .. ':subscriptions', ARGV[1])
if not id then return 0 end
also_when_full()
local known = redis.call('HMGET', p .. ':subscription:' .. id, 'source', 'subject')
if known[1] then
  redis.call('SREM', subscribers(known[1] .. '\n' .. known[2]), id)
else -- somebody has deleted its record: its backlog may be anywhere
  local numbers = {}
  for number = 0, tonumber(redis.call('HGET', p .. ':meta', 'entries') or 0) do numbers[#numbers + 1] = number end
  redis.call('HSET', p .. ':subscription:' .. id, 'name', ARGV[1], 'entries', table.concat(numbers, ' '))
  redis.call('DEL', p .. ':recovery:' .. id)
end
for _, entry in ipairs(redis.call('SMEMBERS', p .. ':wants:' .. id)) do redis.call('SREM', subscribers(entry), id) end
redis.call('DEL', p .. ':wants:' .. id, p .. ':registrants:' .. id)
redis.call('HDEL', p .. ':subscriptions', ARGV[1])
redis.call('DEL', p .. ':leases:' .. id, p .. ':workers:' .. id, p .. ':holders:' .. id)
redis.call('SADD', p .. ':ended', id)
remember_pruned(ARGV[1])
return 1
