-- Arguments: partitions, id, state, entry or '', then where the group of the subscription was in the first streams of that entry,
-- or of all: '' if there was none. Finds out whether the groups have handed out all that is there, and all of that is settled,
-- in all streams at the same time. Then it leaves the entry. If it was for all, the count of the subscription is set right:
-- what it says is gone, but for what was added to it. Returns the number of events that are gone; -1 if there are some left, or
-- the state is not the same any more; -2 if more streams have to be looked at.
also_when_full()
local partitions, id, names = tonumber(ARGV[1]), ARGV[2], {}
local key, grp = p .. ':subscription:' .. id, group(id)
if state_of(id) ~= ARGV[3] or wants(id, ARGV[4]) then return -1 end
for _, entry in ipairs(ARGV[4] == '' and entries_of(id) or {ARGV[4]}) do
  for partition = 0, partitions - 1 do names[#names + 1] = stream_name(entry, partition) end
end

local function is_drained(name, last)
  local pending = redis.pcall('XPENDING', stream(name), grp)
  if not pending.err and pending[1] > 0 then return false end
  local from = (pending.err or last == '') and '-' or '(' .. last -- without a group, nothing is known of what is there
  return not redis.call('XRANGE', stream(name), from, '+', 'COUNT', 1)[1]
end

local of = redis.call('HMGET', key, 'pending', 'remade', 'added')
local pending, added = tonumber(of[1] or 0), tonumber(of[3] or 0)
for n, name in ipairs(names) do
  if not ARGV[n + 4] then return -2 end
  if not is_drained(name, ARGV[n + 4]) then
    -- There may be events for it, and a count of zero would add no workers.
    if ARGV[4] == '' and of[2] and pending < 1 then add_pending(id, 1 - pending) end
    return -1
  end
end
if ARGV[4] ~= '' then
  leave(id, ARGV[4], partitions)
  return 0
end
for _, name in ipairs(redis.call('SMEMBERS', p .. ':again:' .. id)) do redis.call('DEL', ahead(id, name)) end
redis.call('DEL', p .. ':again:' .. id)
redis.call('HDEL', key, 'remade', 'added')
local gone = max(0, pending - added)
if pending > 0 then redis.call('HINCRBY', key, 'pending', gone - pending) end
count_gone(id, pending > 0 and gone or pending)
return gone
