-- Argument: partitions. Forgets entries that subscriptions have left, once nothing of these is pending, and the streams of
-- entries that nobody subscribes to, once retention has emptied them. Returns 1 if there may be more.
also_when_full()
local partitions, used, ids = tonumber(ARGV[1]), {}, redis.call('SMEMBERS', p .. ':ended')
local registered = redis.call('HGETALL', p .. ':subscriptions')
-- Whether a subscription is owed events of an entry, given by its number.
local function wants(id, number)
  for _, entry in ipairs(redis.call('SMEMBERS', p .. ':wants:' .. id)) do
    if redis.call('HGET', p .. ':entries', entry) == number then return true end
  end
  return false
end
for i = 2, #registered, 2 do
  local id = registered[i]
  local known = entries_of(id)
  local left = {known[#known]}
  for n = #known - 1, 1, -1 do
    if wants(id, known[n]) then table.insert(left, 1, known[n]) end
  end
  if #known > #left and tonumber(redis.call('HGET', p .. ':subscription:' .. id, 'pending')) <= 0 then
    for n = 1, #known - 1 do
      if not wants(id, known[n]) then
        for partition = 0, partitions - 1 do
          redis.pcall('XGROUP', 'DESTROY', stream(stream_name(known[n], partition)), group(id))
        end
      end
    end
    redis.call('HSET', p .. ':subscription:' .. id, 'entries', table.concat(left, ' '))
    return 1
  end
  ids[#ids + 1] = id
end
for _, id in ipairs(ids) do
  for _, entry in ipairs(entries_of(id)) do used[entry] = true end
end
local function forget(number)
  local keys = {}
  for partition = 0, partitions - 1 do
    local key = stream(stream_name(number, partition))
    if redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1] then return false end
    keys[#keys + 1] = key
  end
  return redis.call('DEL', unpack(keys)) > 0 or number ~= '0'
end
if not used['0'] and forget('0') then return 1 end
local entries = redis.call('HGETALL', p .. ':entries')
for i = 1, #entries, 2 do
  if not used[entries[i + 1]] and forget(entries[i + 1]) then
    redis.call('HDEL', p .. ':entries', entries[i])
    return 1
  end
end
return 0
