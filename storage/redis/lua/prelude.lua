-- Follows the prelude of all buses in a Redis, and precedes every script of a bus on streams.
-- An entry (EventSource and event name) has a stream for each partition, so that a subscription reads nothing that others
-- want. Streams are named '<number of the entry>:<partition>'. Those of entry 0 are of buses that were made with format 1:
-- they have events of all entries, and are named by their partition.
local function stream(name)
  return p .. ':events:' .. name
end

local function stream_name(entry, partition)
  return entry == '0' and tostring(partition) or entry .. ':' .. partition
end

local function partition_of(name)
  return string.match(name, '%d+$')
end

local function subscribers(entry)
  return p .. ':subscribers:' .. entry
end

local function group(id)
  return id .. ':' .. (redis.call('HGET', p .. ':subscription:' .. id, 'name') or '')
end

-- The numbers of the entries that a subscription may be owed events of, the current one last. It has others for as long as
-- their events may be pending that were committed before it changed to another entry.
local function entries_of(id)
  local found = {}
  for number in string.gmatch(redis.call('HGET', p .. ':subscription:' .. id, 'entries') or '0', '%d+') do
    found[#found + 1] = number
  end
  return found
end

-- Called for each new subscription.
local function begin(id)
  redis.call('HSET', p .. ':subscription:' .. id, 'entries', '')
end

-- Whether the subscription reads the streams of the entry.
local function follows(id, entry)
  local number = redis.call('HGET', p .. ':entries', entry)
  for _, known in ipairs(entries_of(id)) do
    if known == number then return true end
  end
  return false
end

-- Called for each registration. From now on the subscription reads the streams of the entry.
local function follow(id, entry, partitions)
  local number = redis.call('HGET', p .. ':entries', entry)
  if not number then
    repeat number = tostring(redis.call('HINCRBY', p .. ':meta', 'entries', 1))
    until redis.call('EXISTS', stream(stream_name(number, 0))) == 0 -- somebody may have deleted `meta`
    redis.call('HSET', p .. ':entries', entry, number)
  end
  local known, kept = entries_of(id), {}
  if known[#known] == number then return end
  for _, other in ipairs(known) do
    if other ~= number then kept[#kept + 1] = other end
  end
  kept[#kept + 1] = number
  redis.call('HSET', p .. ':subscription:' .. id, 'entries', table.concat(kept, ' '))
  if #kept == #known then return end -- a group that somebody deleted since would begin behind what is pending: see make_again
  local grp = group(id)
  for partition = 0, partitions - 1 do -- it may have the group from an earlier time
    redis.pcall('XGROUP', 'CREATE', stream(stream_name(number, partition)), grp, '$', 'MKSTREAM')
  end
end

-- Whether new events of an entry, given by its number, are committed for a subscription.
local function wants(id, number)
  for _, entry in ipairs(redis.call('SMEMBERS', p .. ':wants:' .. id)) do
    if redis.call('HGET', p .. ':entries', entry) == number then return true end
  end
  return false
end

-- From now on the subscription does not read the streams of the entry, given by its number. It has others.
local function leave(id, number, partitions)
  local kept = {}
  for _, other in ipairs(entries_of(id)) do
    if other ~= number then kept[#kept + 1] = other end
  end
  redis.call('HSET', p .. ':subscription:' .. id, 'entries', table.concat(kept, ' '))
  for partition = 0, partitions - 1 do
    redis.pcall('XGROUP', 'DESTROY', stream(stream_name(number, partition)), group(id))
  end
end

-- When an entry was committed, in ms. A copy has the time of its original.
local function committed(eid, entry)
  return tonumber(entry.committed or string.match(eid, '^%d+'))
end

-- Reads up to `count` entries, but no more than about `bytes`, where an entry counts as a thousand and its body: entries come
-- with their bodies, and copying many large ones would delay all other commands, as many small ones would. The size of each
-- step follows from the entries read so far. `read(n, last)` returns the next n after `last`, which is nil at first. Returns
-- the entries, their size, and whether there may be more.
local function some(count, bytes, read)
  local found, size, step = {}, 0, 4
  while true do
    local wanted = math.min(step, count - #found)
    local more = read(wanted, #found > 0 and found[#found][1] or nil)
    for _, pair in ipairs(more) do
      found[#found + 1] = pair
      size = size + 1000 + (pair[2] and #pair[2][#pair[2]] or 0) -- the body is the last field
    end
    if #more < wanted then return found, size, false end
    if #found == count or size >= bytes then return found, size, true end
    step = math.max(1, math.floor((bytes - size) * #found / size))
  end
end
