-- Arguments: partitions, mode, holder, KEPT in ms, when the holder has called before, then name, source, subject of each
-- subscription. Returns the time, and the subscriptions whose records somebody had deleted and that it has made again. The time
-- is 0 if it is to be called again, because it has not yet found all that such a subscription is owed. Modes:
--   register  they are wanted as they are given here
--   restore   what is missing and was not pruned is registered; else as keep
--   keep      the holder still has them
--   leave     the holder has them no more
-- A subscription is owed the events of the entry that was registered last, and of those that other living processes have. Who
-- has not told for KEPT is not alive; also counted from the call before, so that a clock that jumps ends nobody.
local partitions, mode, holder, kept = tonumber(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4])
local time = now()
local alive_since = math.min(time, tonumber(ARGV[5])) - kept
also_when_full()

-- Somebody may have deleted the numbers of the subscriptions: their records have them, too.
if redis.call('EXISTS', p .. ':subscriptions') == 0 then
  local ended = {}
  for _, id in ipairs(redis.call('SMEMBERS', p .. ':ended')) do ended[id] = true end
  for id = 1, tonumber(redis.call('HGET', p .. ':meta', 'subscriptions') or 0) do
    local name = redis.call('HGET', p .. ':subscription:' .. id, 'name')
    if name and not ended[tostring(id)] then redis.call('HSET', p .. ':subscriptions', name, id) end
  end
end

-- A number that no subscription has.
local function new_number()
  local id
  repeat id = tostring(redis.call('HINCRBY', p .. ':meta', 'subscriptions', 1))
  until redis.call('EXISTS', p .. ':subscription:' .. id) == 0 -- if somebody has deleted `meta`, it counts from 1
  return id
end

-- The entries that living processes have, and one of them.
local function living(id)
  local found, one = {}, nil
  for name, value in pairs(fields(redis.call('HGETALL', p .. ':registrants:' .. id))) do
    local seen, entry = string.match(value, '^(%d+) (.*)$')
    if tonumber(seen) < alive_since then
      redis.call('HDEL', p .. ':registrants:' .. id, name)
    else
      found[entry], one = true, entry
    end
  end
  return found, one
end

-- Owes the subscription the events of these entries, and of no others.
local function owe(id, newest, entries)
  for _, entry in ipairs(redis.call('SMEMBERS', p .. ':wants:' .. id)) do
    if not entries[entry] then
      redis.call('SREM', subscribers(entry), id)
      redis.call('SREM', p .. ':wants:' .. id, entry)
    end
  end
  for entry in pairs(entries) do
    redis.call('SADD', p .. ':wants:' .. id, entry)
    if redis.call('SADD', subscribers(entry), id) == 1 or not follows(id, entry) then follow(id, entry, partitions) end
  end
  follow(id, newest, partitions)
end

local again = {}
for i = 6, #ARGV, 3 do
  local name, wanted = ARGV[i], ARGV[i + 1] .. '\n' .. ARGV[i + 2]
  local id = redis.call('HGET', p .. ':subscriptions', name)
  local known = id and redis.call('HMGET', p .. ':subscription:' .. id, 'source', 'subject') or {}
  local newest = known[1] and known[1] .. '\n' .. known[2]
  if not newest and (mode == 'register' or mode == 'restore' and redis.call('HEXISTS', p .. ':pruned', name) == 0) then
    local of = {}
    if id then of = recovered(id, name, partitions) end
    if not of then return {0, unpack(again)} end
    if id then again[#again + 1] = name end
    id = id or new_number()
    newest = wanted
    redis.call('HSET', p .. ':subscription:' .. id, 'name', name, 'source', ARGV[i + 1], 'subject', ARGV[i + 2],
      'registered', time, 'pending', 0)
    redis.call('HSET', p .. ':subscriptions', name, id)
    redis.call('HDEL', p .. ':pruned', name)
    begin(id, name)
    if #of > 0 then redis.call('HSET', p .. ':subscription:' .. id, unpack(of)) end
  end
  if newest then
    redis.call('SADD', p .. ':wants:' .. id, newest)
    if mode == 'leave' then
      redis.call('HDEL', p .. ':registrants:' .. id, holder)
    else
      redis.call('HSET', p .. ':registrants:' .. id, holder, time .. ' ' .. wanted)
    end
    local entries, one = living(id)
    local next = newest
    if mode == 'register' then
      next = wanted
    elseif not entries[newest] and one then
      next = mode == 'leave' and one or wanted
    end
    if next ~= newest then
      local source, subject = string.match(next, '^([^\n]*)\n(.*)$')
      redis.call('HSET', p .. ':subscription:' .. id, 'source', source, 'subject', subject)
    end
    entries[next] = true
    owe(id, next, entries)
  end
end
return {time, unpack(again)}
