-- Arguments: partitions, only_missing, then name, source, subject of each subscription. With only_missing, known
-- subscriptions are not changed, and pruned ones are not registered.
local only_missing = ARGV[2] == '1'
for i = 3, #ARGV, 3 do
  local name, source, subject = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local entry = source .. '\n' .. subject
  local id = redis.call('HGET', p .. ':subscriptions', name)
  local known = id and redis.call('HMGET', p .. ':subscription:' .. id, 'source', 'subject') or {}
  if only_missing and (known[1] or redis.call('HEXISTS', p .. ':pruned', name) == 1) then
    if known[1] ~= source or known[2] ~= subject then id = nil end -- else what else belongs to it may be lost
  elseif known[1] then
    redis.call('SREM', subscribers(known[1] .. '\n' .. known[2]), id)
    redis.call('HSET', p .. ':subscription:' .. id, 'source', source, 'subject', subject)
  else
    id = id or tostring(redis.call('HINCRBY', p .. ':meta', 'subscriptions', 1))
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
