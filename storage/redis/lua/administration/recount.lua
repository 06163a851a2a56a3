-- Arguments: partitions, commands, then numbers of subscriptions. Finds those that have nothing left in their streams although
-- events are pending: somebody has deleted these. Makes groups again that are missing. Returns how many subscriptions it has
-- looked at, which ends after about so many commands, and what it found: a name, the streams whose groups were missing, and the
-- number of events that are gone.
also_when_full()
local partitions, left, looked, result, missing = tonumber(ARGV[1]), tonumber(ARGV[2]), 0, {}, {}
local function is_empty(id, name)
  left = left - 3
  local key, grp = stream(name), group(id)
  local pending = redis.pcall('XPENDING', key, grp)
  if pending.err then
    if make_again(id, name) then missing[#missing + 1] = name end
    return true
  end
  if pending[1] > 0 then return false end
  for _, info in ipairs(redis.call('XINFO', 'GROUPS', key)) do
    local of = fields(info)
    if of.name == grp then
      return not redis.call('XRANGE', key, '(' .. of['last-delivered-id'], '+', 'COUNT', 1)[1]
    end
  end
end
local function has_nothing(id)
  for _, entry in ipairs(entries_of(id)) do
    for partition = 0, partitions - 1 do
      if not is_empty(id, stream_name(entry, partition)) then return false end
    end
  end
  return #missing == 0 -- else there may be events again: the next time shows
end
for i = 3, #ARGV do
  if left <= 0 then break end
  local id = ARGV[i]
  local of = redis.call('HMGET', p .. ':subscription:' .. id, 'name', 'pending')
  local pending = tonumber(of[2] or 0)
  left, looked = left - 1, looked + 1
  if of[1] and pending ~= 0 and has_nothing(id) then
    count_gone(id, pending)
  else
    pending = 0
  end
  if pending > 0 or #missing > 0 then
    result[#result + 1] = {of[1], missing, max(0, pending)}
    missing = {}
  end
end
return {looked, result}
