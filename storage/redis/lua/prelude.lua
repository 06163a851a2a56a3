-- Before every script. KEYS[1] is the prefix of the bus, a hash tag: all its keys are in one slot of a cluster.
local p = KEYS[1]

local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- Redis refuses a script at its first write if memory is full and that write could take more; after another it may go
-- on. What settles, renews and hands back must go on, or a full bus could never be worked on.
local function also_when_full()
  redis.call('DEL', p .. ':nothing')
end

-- Whoever listens looks at these partitions, '1 5 7', or without any at everything. Rings are numbered: who finds a gap
-- has missed some.
local function ring(partitions)
  local number = redis.call('HINCRBY', p .. ':meta', 'rings', 1)
  redis.call('XADD', p .. ':bell', 'MAXLEN', 100, '*', 'number', number, 'partitions', partitions or '')
end

local function stream(part)
  return p .. ':events:' .. part
end

local function group(id)
  return id .. ':' .. (redis.call('HGET', p .. ':subscription:' .. id, 'name') or '')
end

local function fields(list)
  local found = {}
  for i = 1, #list, 2 do found[list[i]] = list[i + 1] end
  return found
end

-- When an entry was committed, in ms: its own time, or of a copy that of its original.
local function committed(eid, entry)
  return tonumber(entry.committed or string.match(eid, '^%d+'))
end

-- What to answer to a step of a checkpoint that is not the next one; nil if it is.
local function refused(key, follows, after, term, token)
  local found = redis.call('HMGET', p .. ':checkpoint:' .. key, 'term', 'number', 'token')
  local number = tonumber(found[2] or 0)
  if tonumber(found[1] or 0) > term then return {'LOST', found[1]} end
  if number == follows + 1 and found[3] == token then return {'DONE'} end
  if number ~= follows or (after ~= '' and found[3] ~= after) then return {'MISMATCH', number} end
end

local function max(a, b)
  if a > b then return a end
  return b
end

-- Entries come with their bodies, and copying many large ones would hold up everybody: up to `count` of them, but no more
-- than about `bytes`, in steps whose size the entries before tell. `read(n, last)` gives the next n after `last`, which is
-- nil at first. Returns them, how large they are, and whether there may be more.
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

-- One subscription is done with entries: of each partition, id, bytes, when it was committed, whether it is a copy ('1').
-- Whoever is the last leaves it to retention; a copy goes at once.
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
  if redis.call('HDEL', p .. ':holds:' .. id, unpack(names)) > 0 then ring() end
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
