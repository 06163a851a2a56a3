-- Argument: partitions. Returns for each subscription its record, when its oldest pending event was committed (-1:
-- none), the number of its dead letters, its workers.
local result = {}
local registered = redis.call('HGETALL', p .. ':subscriptions')
for i = 1, #registered, 2 do
  local name, id = registered[i], registered[i + 1]
  local known = redis.call('HMGET', p .. ':subscription:' .. id, 'source', 'subject', 'registered', 'pending')
  local oldest = -1
  local function seen(eid, entry)
    local time = committed(eid, entry)
    if oldest < 0 or time < oldest then oldest = time end
  end
  if tonumber(known[4]) > 0 then
    for partition = 0, tonumber(ARGV[1]) - 1 do
      local pending = redis.call('XPENDING', stream(partition), group(id))
      local from = pending[2]
      if not from then
        for _, info in ipairs(redis.call('XINFO', 'GROUPS', stream(partition))) do
          local of = fields(info)
          if of.name == group(id) then from = '(' .. of['last-delivered-id'] end
        end
      end
      for _ = 1, 20 do -- one at a time, because it comes with its body
        local pair = redis.call('XRANGE', stream(partition), from or '-', '+', 'COUNT', 1)[1]
        if not pair then break end
        local entry = fields(pair[2])
        if string.find(entry['for'], ',' .. id .. ',', 1, true) then
          seen(pair[1], entry)
          break
        end
        from = '(' .. pair[1]
      end
    end
  end
  local time, workers = now(), {}
  for _, token in ipairs(redis.call('ZRANGEBYSCORE', p .. ':workers:' .. id, time, '+inf')) do
    workers[#workers + 1] = redis.call('HGET', p .. ':holders:' .. id, token)
  end
  local dead = redis.call('HGET', p .. ':dead', name) or '0'
  result[#result + 1] = {name, known[1], known[2], known[3], known[4], oldest, dead, workers}
end
return result
