-- Argument: partitions. Forgets entries that subscriptions have left, once nothing of these is pending, and the streams of
-- entries that nobody subscribes to, once retention has emptied them. Returns 1 if there may be more.
also_when_full()
local partitions, used, ids = tonumber(ARGV[1]), {}, redis.call('SMEMBERS', p .. ':ended')
local left = 1000 -- groups to look at, about a millisecond
local registered = redis.call('HGETALL', p .. ':subscriptions')
-- Whether a subscription is owed events of an entry, given by its number.
local function wants(id, number)
  for _, entry in ipairs(redis.call('SMEMBERS', p .. ':wants:' .. id)) do
    if redis.call('HGET', p .. ':entries', entry) == number then return true end
  end
  return false
end
-- Whether the group of a subscription has handed out all of a stream, and all of that is settled. Without a group, nothing is
-- known of what is there.
local function is_drained(name, grp)
  local groups = redis.pcall('XINFO', 'GROUPS', stream(name))
  local from = '-'
  for _, info in ipairs(groups.err and {} or groups) do -- an error: there is no stream
    left = left - 1
    local of = info[2] == grp and fields(info)
    if of and of.pending > 0 then return false end
    if of then from = '(' .. of['last-delivered-id'] end
  end
  return not redis.call('XRANGE', stream(name), from, '+', 'COUNT', 1)[1]
end
-- Whether nothing of an entry is pending. The count of a subscription tells, unless a group of it was made again: then the groups
-- do. There may be too many of these to look at. The entry stays then, which costs no more than that it is read.
local function is_done(id, number)
  local of = redis.call('HMGET', p .. ':subscription:' .. id, 'pending', 'remade')
  if tonumber(of[1]) > 0 then return false end
  for partition = 0, of[2] and partitions - 1 or -1 do
    if left <= 0 or not is_drained(stream_name(number, partition), group(id)) then return false end
  end
  return true
end
for i = 2, #registered, 2 do
  local id = registered[i]
  local known = entries_of(id)
  local kept = {known[#known]}
  for n = #known - 1, 1, -1 do
    if wants(id, known[n]) or not is_done(id, known[n]) then
      table.insert(kept, 1, known[n])
    else
      for partition = 0, partitions - 1 do
        redis.pcall('XGROUP', 'DESTROY', stream(stream_name(known[n], partition)), group(id))
      end
    end
  end
  if #known > #kept then
    redis.call('HSET', p .. ':subscription:' .. id, 'entries', table.concat(kept, ' '))
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
