-- Argument: partitions. Forgets the streams of entries that nobody subscribes to, once retention has emptied them. Returns 1
-- if there may be more.
also_when_full()
local partitions, used, ids = tonumber(ARGV[1]), {}, redis.call('SMEMBERS', p .. ':ended')
local registered = redis.call('HGETALL', p .. ':subscriptions')
for i = 2, #registered, 2 do ids[#ids + 1] = registered[i] end
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
