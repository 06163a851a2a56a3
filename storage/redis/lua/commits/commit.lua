-- Makes a checkpoint step, or publishes events, or both, all or nothing: all checks come before the first write. After the
-- arguments of the step: maxPending, number of entries and of events, entries with the number of their events, events.
local step, at = read_step()
local answer = refused_step(step)
if answer then return answer end

local full, entries, events = tonumber(ARGV[at]), at + 3, tonumber(ARGV[at + 2])
local first = entries + 2 * tonumber(ARGV[at + 1]) -- the first event
local owed, owners, places = {}, {}, {} -- by entry: the subscribers, the same as text, and how the streams' names begin
for i = entries, first - 1, 2 do
  local entry = ARGV[i]
  local ids, number = redis.call('SMEMBERS', subscribers(entry)), redis.call('HGET', p .. ':entries', entry)
  if #ids == 0 or not number then return {'NOBODY', entry} end
  for _, id in ipairs(ids) do
    local found = redis.call('HMGET', p .. ':subscription:' .. id, 'pending', 'name')
    if not found[2] then return {'NOBODY', entry} end -- its record is gone, and is made again
    if tonumber(found[1]) >= full then return {'FULL', found[2], found[1]} end
  end
  owed[entry], owners[entry], places[entry] = ids, ',' .. table.concat(ids, ',') .. ',', stream_name(number, '')
end

if events > 0 then
  local wanting = {}
  for i = entries, first - 1, 2 do
    for _, id in ipairs(owed[ARGV[i]]) do
      wanting[#wanting + 1] = id
      redis.call('HINCRBY', p .. ':subscription:' .. id, 'pending', ARGV[i + 1])
    end
  end
  local seq = redis.call('HINCRBY', p .. ':meta', 'seq', events) - events
  local touched, partitions = {}, {}
  for i = 1, events do
    local partition, lane, id, entry, body = unpack(ARGV, first + 5 * i - 5, first + 5 * i - 1)
    local name = places[entry] .. partition
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
