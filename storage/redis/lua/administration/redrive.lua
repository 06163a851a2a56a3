-- Arguments: partitions, maxPending, then id and partition of each dead letter. Delivers them again and deletes them.
-- All checks come before the first write. Returns the ids that stay, each with the reason.
local result, owed, known, told = {}, {}, {}, {}
for i = 3, #ARGV, 2 do
  local found = redis.call('XRANGE', p .. ':letters', ARGV[i], ARGV[i])[1]
  if not found then
    result[#result + 1] = {ARGV[i], 'MISSING'}
  else
    local of = fields(found[2])
    local id = redis.call('HGET', p .. ':subscriptions', of.subscription)
    local pending = id and redis.call('HGET', p .. ':subscription:' .. id, 'pending')
    if not pending then
      result[#result + 1] = {ARGV[i], 'ENDED', of.subscription}
    else
      pending = tonumber(pending) + (owed[id] or 0)
      if pending >= tonumber(ARGV[2]) then return {{'', 'FULL', of.subscription, tostring(pending)}} end
      owed[id] = (owed[id] or 0) + 1
      known[#known + 1] = {ARGV[i], ARGV[i + 1], of, id}
    end
  end
end
for _, one in ipairs(known) do
  local of = one[3]
  local entries = entries_of(one[4])
  redis.call('XADD', stream(stream_name(entries[#entries], one[2])), '*', 'seq', 0, 'key', of.key, 'id', of.id, 'entry', of.entry,
    'for', ',' .. one[4] .. ',', 'again', 1, 'committed', of.first, 'superseded', superseded(of),
    'body', redelivered(of.body, 'redrive'))
  redis.call('HINCRBY', p .. ':subscription:' .. one[4], 'pending', 1)
  rewind(one[4])
  redis.call('XDEL', p .. ':letters', one[1])
  bury(of.subscription, of.place and of.key, -1)
  told[#told + 1] = one[4]
end
if #known > 0 then notify(table.concat(told, ' ')) end
return result
