-- Arguments: numbers of subscriptions. Returns for each one that is still there its record, the number of events that are owed,
-- when the oldest was committed (-1: none), the number of its dead letters, RQ's records of its workers, and the number
-- of events that are gone.
local result = {}
for _, id in ipairs(ARGV) do
  local sub = known(id)
  if sub then
    local of = redis.call('HMGET', p .. ':subscription:' .. id, 'source', 'subject', 'registered', 'gone')
    local workers = {}
    for _, key in ipairs(redis.call('SMEMBERS', rq .. ':workers:' .. sub.queue)) do
      local worker = redis.call('HMGET', key, 'last_heartbeat', 'holder', 'hostname', 'pid')
      if worker[1] then workers[#workers + 1] = worker end
    end
    local oldest = redis.call('ZRANGE', sub.owed, 0, 0, 'WITHSCORES')[2] or '-1'
    result[#result + 1] = {sub.name, of[1], of[2], of[3], redis.call('ZCARD', sub.owed), oldest,
      redis.call('ZCARD', failed(sub.queue)), workers, of[4] or '0'}
  end
end
return result
