-- Arguments: partitions, only_missing, then name, source, subject of each subscription. With only_missing, known
-- subscriptions are not changed, and pruned ones are not registered.
local only_missing = ARGV[2] == '1'
for i = 3, #ARGV, 3 do
  local name, source, subject = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local entry = source .. '\n' .. subject
  local id = redis.call('HGET', p .. ':subscriptions', name)
  if only_missing and (id or redis.call('HEXISTS', p .. ':pruned', name) == 1) then
    id = nil
  elseif id then
    local known = redis.call('HMGET', p .. ':subscription:' .. id, 'source', 'subject')
    redis.call('SREM', subscribers(known[1] .. '\n' .. known[2]), id)
    redis.call('HSET', p .. ':subscription:' .. id, 'source', source, 'subject', subject)
  else
    id = tostring(redis.call('HINCRBY', p .. ':meta', 'subscriptions', 1))
    redis.call('HSET', p .. ':subscription:' .. id, 'name', name, 'source', source, 'subject', subject,
      'registered', now(), 'pending', 0)
    redis.call('HSET', p .. ':subscriptions', name, id)
    redis.call('HDEL', p .. ':pruned', name)
    begin(id, name)
  end
  if id then
    redis.call('SADD', subscribers(entry), id)
    follow(id, entry, tonumber(ARGV[1]))
  end
end
