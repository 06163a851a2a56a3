-- Follows `repairs.lua`: how events are settled, and what is kept of dead letters.

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
