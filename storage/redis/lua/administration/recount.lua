-- Arguments: partitions, budget in commands, then numbers of subscriptions. Makes groups again that are missing: without a
-- worker, all of them. Returns how many subscriptions it has looked at, and what it found: number and name, the streams whose
-- groups were missing, and its state if nothing of it is handed out although events are pending, or its count may be wrong.
also_when_full()
local partitions, left, looked, result = tonumber(ARGV[1]), tonumber(ARGV[2]), 0, {}

-- The number of events that were handed out and not settled.
local function unsettled(id, grp, missing)
  local total = 0
  local alone = not redis.call('ZRANGEBYSCORE', p .. ':workers:' .. id, now(), '+inf', 'LIMIT', 0, 1)[1]
  for _, entry in ipairs(entries_of(id)) do
    for partition = 0, partitions - 1 do
      if total > 0 and not alone then return total end
      local name = stream_name(entry, partition)
      local pending = redis.pcall('XPENDING', stream(name), grp)
      left = left - 1
      if not pending.err then
        total = total + pending[1]
      elseif make_again(id, name) then
        missing[#missing + 1] = name
        left = left - 8
      end
    end
  end
  return total
end

local function look(id)
  local of, missing = redis.call('HMGET', p .. ':subscription:' .. id, 'name', 'pending', 'remade'), {}
  local pending = tonumber(of[2] or 0)
  left = left - 2
  if not of[1] or pending == 0 and not of[3] then return end
  local total = unsettled(id, group(id), missing)
  if of[3] and pending < total then add_pending(id, total - pending) end
  -- Where a group was missing, there may be events again: the next time shows.
  local state = total == 0 and #missing == 0 and state_of(id) or ''
  if state ~= '' or #missing > 0 then result[#result + 1] = {id, of[1], missing, state} end
end

for i = 3, #ARGV do
  if left <= 0 then break end
  look(ARGV[i])
  looked = looked + 1
end
return {looked, result}
