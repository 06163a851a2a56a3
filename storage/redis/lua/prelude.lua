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

-- Called for each registration. From now on the subscription reads the streams of the entry.
local function follow(id, entry, partitions)
  local number = redis.call('HGET', p .. ':entries', entry)
  if not number then
    number = tostring(redis.call('HINCRBY', p .. ':meta', 'entries', 1))
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

-- Tells who remembers how old the events of a subscription are that older ones have come in behind them.
local function rewind(id)
  redis.call('HSET', p .. ':subscription:' .. id, 'rewound', now())
end

-- Makes the group of a subscription again if somebody deleted it, or the whole stream. It begins with all that the stream still
-- has; of that, what all subscriptions have settled is passed over when it is read. Returns whether it was missing.
local function make_again(id, name)
  if redis.pcall('XGROUP', 'CREATE', stream(name), group(id), '0', 'MKSTREAM').err then return false end
  redis.call('SADD', p .. ':again:' .. id, name)
  redis.call('HSET', p .. ':subscription:' .. id, 'remade', 1) -- from now on, `pending` may be too low: see owe_again
  rewind(id)
  return true
end

-- Whether a subscription reads a stream. Entries that were drained are forgotten with their groups.
local function reads(id, name)
  for _, entry in ipairs(redis.call('EXISTS', p .. ':subscription:' .. id) == 1 and entries_of(id) or {}) do
    if stream_name(entry, partition_of(name)) == name then return true end
  end
  return false
end

-- The groups of a stream by the number of the subscription.
local function groups_of(name)
  local found = {}
  for _, info in ipairs(redis.call('XINFO', 'GROUPS', stream(name))) do
    found[string.match(info[2], '^%d+') or info[2]] = fields(info)
  end
  return found
end

-- Whether a subscription has yet to settle an entry, given its group. One whose group is missing owes all that is there.
local function owes(id, name, eid, of)
  if not of then return reads(id, name) end
  local time, number = string.match(eid, '(%d+)-(%d+)')
  local last, last_number = string.match(of['last-delivered-id'], '(%d+)-(%d+)')
  return tonumber(time) > tonumber(last) or time == last and tonumber(number) > tonumber(last_number)
    or of.pending > 0 and redis.call('XPENDING', stream(name), of.name, eid, eid, 1)[1] ~= nil
end

-- An entry is handed out by a group that was made again, perhaps after it was settled. It is owed once more then: settled twice
-- and counted once, it would be settled for all, and deleted while others still want it.
local function owe_again(id, name, eid, entry, groups)
  local field, count, certain = name .. '/' .. eid, 0, true
  for other in string.gmatch(entry['for'], '%d+') do
    if other ~= id and owes(other, name, eid, groups[other]) then
      count = count + 1
      certain = certain and groups[other] and redis.call('EXISTS', p .. ':again:' .. other) == 0
    end
  end
  if tonumber(redis.call('HGET', p .. ':owed', field) or 1) > count then return end
  redis.call('HSET', p .. ':owed', field, count + 1)
  if certain then redis.call('HINCRBY', p .. ':subscription:' .. id, 'pending', 1) end
end

-- Counts events that are gone before the subscription has settled them, because somebody deleted them.
local function count_gone(id, count)
  if count == 0 then return end -- Lua would write -0, which is no integer to Redis
  redis.call('HINCRBY', p .. ':subscription:' .. id, 'pending', -count)
  if count > 0 then redis.call('HINCRBY', p .. ':subscription:' .. id, 'gone', count) end
end

-- Gives up a delivery whose event is gone. Returns how many that were: 0 if it has been settled.
local function give_up(id, grp, name, eid)
  local field = name .. '/' .. eid
  redis.call('HDEL', p .. ':tries:' .. id, field)
  redis.call('HDEL', p .. ':failures:' .. id, field)
  redis.call('HDEL', p .. ':holds:' .. id, field)
  redis.call('HDEL', p .. ':owed', field)
  local gone = redis.call('XACK', stream(name), grp, eid)
  count_gone(id, gone)
  return gone
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

-- What was settled of a stream while the group of the subscription was deleted, or made again and had not handed it out yet.
local function ahead(id, name)
  return p .. ':ahead:' .. id .. ':' .. name
end

-- Whether the group of a subscription has not handed out an entry that is there: it was deleted since, and perhaps made again.
local function is_unread(id, grp, name, eid)
  local groups = redis.pcall('XINFO', 'GROUPS', stream(name))
  if groups.err then return false end -- there is no stream
  if redis.call('EXISTS', p .. ':subscription:' .. id) == 0 then return false end -- it was pruned, with its group
  local from = '-'
  for _, info in ipairs(groups) do
    if info[2] == grp then from = '(' .. fields(info)['last-delivered-id'] end
  end
  return redis.call('XRANGE', stream(name), from, eid, 'COUNT', 1)[1] ~= nil
end

local function is_settled(id, grp, name, eid)
  local pending = redis.pcall('XPENDING', stream(name), grp, eid, eid, 1)
  if not pending.err and #pending > 0 then return false end
  return redis.call('HEXISTS', ahead(id, name), eid) == 1 or not is_unread(id, grp, name, eid)
end

-- Settles entries for one subscription. Each entry: stream, id, bytes, time of commit, whether it is a copy ('1').
-- An entry that all subscriptions have settled is left to retention; a copy is deleted at once. Returns how many were not
-- settled before.
local function finish(id, grp, entries)
  local done, names = {}, {}
  for _, entry in ipairs(entries) do
    if redis.call('XACK', stream(entry[1]), grp, entry[2]) == 1 then
      done[#done + 1] = entry
      names[#names + 1] = entry[1] .. '/' .. entry[2]
    elseif is_unread(id, grp, entry[1], entry[2]) then
      redis.call('HSET', ahead(id, entry[1]), entry[2], 1) -- it is passed over, and counted, when it is read
    end
  end
  if #done == 0 then return 0 end
  redis.call('HDEL', p .. ':tries:' .. id, unpack(names))
  redis.call('HDEL', p .. ':failures:' .. id, unpack(names))
  if redis.call('HDEL', p .. ':holds:' .. id, unpack(names)) > 0 then notify(id) end
  redis.call('HINCRBY', p .. ':subscription:' .. id, 'pending', -#done)
  local owed = redis.call('HMGET', p .. ':owed', unpack(names))
  local settled, bytes = {}, 0
  for i, entry in ipairs(done) do
    if entry[5] == '1' then
      redis.call('XDEL', stream(entry[1]), entry[2])
    elseif owed[i] and tonumber(owed[i]) > 1 then
      redis.call('HINCRBY', p .. ':owed', names[i], -1)
    else
      if owed[i] then redis.call('HDEL', p .. ':owed', names[i]) end
      settled[#settled + 1] = entry[4]
      settled[#settled + 1] = names[i] .. '/' .. entry[3]
      bytes = bytes + entry[3]
    end
  end
  if #settled > 0 then
    redis.call('ZADD', p .. ':settled', unpack(settled))
    redis.call('HINCRBY', p .. ':meta', 'settled', bytes)
  end
  return #done
end

-- Of each partitionkey of which a subscription has dead letters: see count_letters.
local function passed(name)
  return p .. ':passed:' .. name
end

-- Counts dead letters of a subscription and of a partitionkey, which is nil for a letter of an earlier version. Of one that
-- has none, nothing is kept.
local function bury(name, key, count)
  if redis.call('HINCRBY', p .. ':dead', name, count) <= 0 then
    redis.call('HDEL', p .. ':dead', name)
    redis.call('DEL', passed(name))
    return
  end
  if key then count_letters(passed(name), key, count) end
end

-- Whether a later event of the object has been delivered since a dead letter was put aside: '1' or '0'; '' if it is not known.
local function superseded(letter)
  if not letter.place or letter.place == '' or letter.superseded ~= '0' then return letter.superseded or '' end
  local place = string.match(redis.call('HGET', passed(letter.subscription), letter.key) or '', '^%d+ (.*)$')
  return place and place > letter.place and '1' or '0'
end

-- An event with the attribute `redelivery`, as event.redelivered sets it.
local function redelivered(body, how)
  if string.sub(body, 1, 2) ~= '{"' then return body end
  return '{"redelivery":"' .. how .. '",' .. string.sub(body, string.match(body, '^{"redelivery":"%l*",()') or 2)
end
