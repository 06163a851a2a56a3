-- Makes a checkpoint step, or publishes events, or both, all or nothing: all checks come before the first write. After the
-- arguments of the step: maxPending, number of entries and of events, entries with the number of their events, events.
local step, at = read_step()
local function arg()
  at = at + 1
  return ARGV[at - 1]
end
local answer = refused_step(step)
if answer then return answer end

local full, count, events = tonumber(arg()), tonumber(arg()), tonumber(arg())
local entries, numbers, owed, owners = {}, {}, {}, {}
for i = 1, 2 * count do entries[i] = arg() end
for i = 1, #entries, 2 do
  local ids, number = redis.call('SMEMBERS', subscribers(entries[i])), redis.call('HGET', p .. ':entries', entries[i])
  if #ids == 0 or not number then return {'NOBODY', entries[i]} end
  for _, id in ipairs(ids) do
    local found = redis.call('HMGET', p .. ':subscription:' .. id, 'pending', 'name')
    if not found[2] then return {'NOBODY', entries[i]} end -- its record is gone, and is made again
    if tonumber(found[1]) >= full then return {'FULL', found[2], found[1]} end
  end
  owed[entries[i]], owners[entries[i]], numbers[entries[i]] = ids, ',' .. table.concat(ids, ',') .. ',', number
end

if events > 0 then
  local wanting = {}
  for i = 1, #entries, 2 do
    for _, id in ipairs(owed[entries[i]]) do
      wanting[#wanting + 1] = id
      redis.call('HINCRBY', p .. ':subscription:' .. id, 'pending', entries[i + 1])
    end
  end
  local seq = redis.call('HINCRBY', p .. ':meta', 'seq', events) - events
  local touched, partitions = {}, {}
  for i = 1, events do
    local partition, lane, id, entry, body = arg(), arg(), arg(), arg(), arg()
    local name = stream_name(numbers[entry], partition)
    local eid = redis.call('XADD', stream(name), '*', 'seq', seq + i, 'key', lane, 'id', id, 'entry', entry,
      'for', owners[entry], 'body', body)
    if #owed[entry] > 1 then redis.call('HSET', p .. ':owed', name .. '/' .. eid, #owed[entry]) end
    if not touched[partition] then
      touched[partition] = true
      partitions[#partitions + 1] = partition
    end
  end
  notify(table.concat(wanting, ' '), table.concat(partitions, ' '))
end
make_step(step)
return {'OK'}
