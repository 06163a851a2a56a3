-- Follows the prelude of all buses in a Redis, and precedes every script of a bus on streams.
local function stream(partition)
  return p .. ':events:' .. partition
end

local function group(id)
  return id .. ':' .. (redis.call('HGET', p .. ':subscription:' .. id, 'name') or '')
end

-- Called for each new subscription.
local function begin(id, name, partitions)
  for partition = 0, partitions - 1 do
    redis.call('XGROUP', 'CREATE', stream(partition), id .. ':' .. name, '$', 'MKSTREAM')
  end
end

-- When an entry was committed, in ms. A copy has the time of its original.
local function committed(eid, entry)
  return tonumber(entry.committed or string.match(eid, '^%d+'))
end

-- Reads up to `count` entries, but no more than about `bytes`: entries come with their bodies, and copying many large
-- ones would delay all other commands. The size of each step follows from the entries read so far. `read(n, last)`
-- returns the next n after `last`, which is nil at first. Returns the entries, their size, and whether there may be
-- more.
local function some(count, bytes, read)
  local found, size, step = {}, 0, 4
  while true do
    local wanted = math.min(step, count - #found)
    local more = read(wanted, #found > 0 and found[#found][1] or nil)
    for _, pair in ipairs(more) do
      found[#found + 1] = pair
      size = size + 200 + (pair[2] and #pair[2][#pair[2]] or 0) -- the body is the last field
    end
    if #more < wanted then return found, size, false end
    if #found == count or size >= bytes then return found, size, true end
    step = math.max(1, math.floor((bytes - size) * #found / size))
  end
end

-- Settles entries for one subscription. Each entry: partition, id, bytes, time of commit, whether it is a copy ('1').
-- An entry that all subscriptions have settled is left to retention; a copy is deleted at once.
local function finish(id, grp, entries)
  local done, names = {}, {}
  for _, entry in ipairs(entries) do
    if redis.call('XACK', stream(entry[1]), grp, entry[2]) == 1 then
      done[#done + 1] = entry
      names[#names + 1] = entry[1] .. '/' .. entry[2]
    end
  end
  if #done == 0 then return end
  redis.call('HDEL', p .. ':tries:' .. id, unpack(names))
  if redis.call('HDEL', p .. ':holds:' .. id, unpack(names)) > 0 then notify() end
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
  if #settled == 0 then return end
  redis.call('ZADD', p .. ':settled', unpack(settled))
  redis.call('HINCRBY', p .. ':meta', 'settled', bytes)
end
