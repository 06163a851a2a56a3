-- Arguments: id, token, then for each entry: stream, id, what to do, two values, bytes, time of commit, whether it
-- is a copy. The values of an ack are the partitionkey and the place of the event, of a dead letter the attempts, and the
-- place and the reason on lines of their own, of a nack the attempts, and the delay in ms with what is kept of failures.
-- A skip is an ack of what the trigger did not run for: it is no success. Returns whether the subscription was ended, then for
-- each entry 1 (done) or 0 (claim lost). An entry may be settled by the worker that holds it; if none does, by the owner of its
-- partition.
also_when_full()
local id, token, result = ARGV[1], ARGV[2], {}
local grp = group(id)
local name = redis.call('HGET', p .. ':subscription:' .. id, 'name')
result[1] = (not name or redis.call('HGET', p .. ':subscriptions', name) ~= id) and 1 or 0
local partitions, names = {}, {}
for i = 3, #ARGV, 8 do
  partitions[#partitions + 1] = partition_of(ARGV[i])
  names[#names + 1] = ARGV[i] .. '/' .. ARGV[i + 1]
end
local holds = redis.call('HMGET', p .. ':holds:' .. id, unpack(names))
local owners = redis.call('HMGET', p .. ':leases:' .. id, unpack(partitions))
local acked, skipped, delivered = {}, {}, {}
for n, field in ipairs(names) do
  local i = 8 * n - 5
  local place, eid, what, first, second = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  local entry = {place, eid, ARGV[i + 5], ARGV[i + 6], ARGV[i + 7]}
  local hold, done = holds[n], 1
  local ours = (hold and string.match(hold, '^%S+') or owners[n]) == token
  if ours and what == 'ack' then
    acked[#acked + 1] = entry -- the usual case: acked together, in fewer commands
    delivered[first] = second
  elseif ours and what == 'skip' then
    skipped[#skipped + 1] = entry
  elseif is_settled(id, grp, place, eid) then
    done = (what == 'ack' or what == 'skip' or what == 'dead') and 1 or 0 -- settled before: the reply was lost
  elseif not ours then
    done = 0
  elseif what == 'start' then
    redis.call('HSET', p .. ':tries:' .. id, field, first .. ' 0')
  elseif what == 'nack' then
    local delay, failures = string.match(second, '^(%d+) (.*)$')
    redis.call('HSET', p .. ':tries:' .. id, field, first .. ' ' .. (now() + tonumber(delay)))
    if failures ~= '0 0' then redis.call('HSET', p .. ':failures:' .. id, field, failures) end
    if hold then
      redis.call('HDEL', p .. ':holds:' .. id, field)
      notify(id)
    end
  elseif what == 'extend' then
    if hold then redis.call('HSET', p .. ':holds:' .. id, field, token .. ' ' .. (now() + tonumber(first))) end
  elseif what == 'dead' then
    local found = redis.call('XRANGE', stream(place), eid, eid)
    if found[1] then
      local event = fields(found[1][2])
      redis.call('XADD', p .. ':letters', '*', 'subscription', name, 'id', event.id, 'key', event.key,
        'entry', event.entry, 'attempts', first, 'first', committed(eid, event), 'last', now(),
        'place', string.match(second, '^[^\n]*'), 'superseded', event.superseded or '0',
        'reason', string.match(second, '\n(.*)$'), 'body', event.body)
      bury(name, event.key, 1)
    end
    finish(id, grp, {entry})
  end
  result[#result + 1] = done
end
finish(id, grp, skipped)
local successes = finish(id, grp, acked)
if successes > 0 then redis.call('HINCRBY', p .. ':subscription:' .. id, 'successes', successes) end
if name and redis.call('HEXISTS', p .. ':dead', name) == 1 then
  for key, place in pairs(delivered) do pass(passed(name), key, place) end
end
return result
