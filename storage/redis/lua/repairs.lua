-- Follows the prelude: what somebody has deleted, and how it is made again.

-- Tells who remembers how old the events of a subscription are that older ones have come in behind them.
local function rewind(id)
  redis.call('HSET', p .. ':subscription:' .. id, 'rewound', now())
end

-- From now on, `pending` may be too low, see owe_again. No two marks are the same.
local function mark_remade(id)
  redis.call('HSET', p .. ':subscription:' .. id, 'remade', redis.call('HINCRBY', p .. ':meta', 'repairs', 1))
end

-- What was learned of the streams and groups of a subscription holds as long as this does, but for what is added and settled.
local function state_of(id)
  local of = redis.call('HMGET', p .. ':subscription:' .. id, 'entries', 'remade')
  return (of[1] or '') .. '/' .. (of[2] or '')
end

-- There is more than a count says that may be too low.
local function add_pending(id, count)
  redis.call('HINCRBY', p .. ':subscription:' .. id, 'pending', count)
  redis.call('HINCRBY', p .. ':subscription:' .. id, 'added', count)
end

-- Makes the group of a subscription again if somebody deleted it, or the whole stream. It begins with all that the stream still
-- has; of that, what all subscriptions have settled is passed over when it is read. Returns whether it was missing.
local function make_again(id, name)
  if redis.pcall('XGROUP', 'CREATE', stream(name), group(id), '0', 'MKSTREAM').err then return false end
  redis.call('SADD', p .. ':again:' .. id, name)
  mark_remade(id)
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
