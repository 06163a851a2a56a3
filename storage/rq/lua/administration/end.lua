-- Argument: name. Ends a subscription: it gets no more events and no worker can claim any; drop.lua does the rest.
local id = redis.call('HGET', p .. ':subscriptions', ARGV[1])
if not id then return 0 end
also_when_full()
local of = redis.call('HMGET', p .. ':subscription:' .. id, 'source', 'subject')
redis.call('SREM', subscribers(of[1] .. '\n' .. of[2]), id)
for _, entry in ipairs(redis.call('SMEMBERS', p .. ':wants:' .. id)) do redis.call('SREM', subscribers(entry), id) end
redis.call('DEL', p .. ':wants:' .. id, p .. ':registrants:' .. id)
redis.call('HDEL', p .. ':subscriptions', ARGV[1])
redis.call('SADD', p .. ':ended', id)
remember_pruned(ARGV[1])
return 1
