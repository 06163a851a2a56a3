-- id, token, then of each: partition, entry, what, two values, bytes, committed, again. Returns whether
-- the subscription was ended, then of each 1 (done) or 0 (claim lost).
-- Who holds an entry may settle it; else who has its partition.
also_when_full()
local id, token, result = ARGV[1], ARGV[2], {}
local grp = group(id)
local name = redis.call('HGET', p .. ':subscription:' .. id, 'name')
result[1] = (not name or redis.call('HGET', p .. ':subscriptions', name) ~= id) and 1 or 0
for i = 3, #ARGV, 8 do
  local part, eid, what, first, second = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  local field = part .. '/' .. eid
  local hold = redis.call('HGET', p .. ':holds:' .. id, field)
  local owner = hold and string.match(hold, '^%S+') or redis.call('HGET', p .. ':leases:' .. id, part)
  local pending = redis.pcall('XPENDING', stream(part), grp, eid, eid, 1)
  local done = 1
  if pending.err or #pending == 0 then
    done = (what == 'ack' or what == 'dead') and 1 or 0 -- settled before: the reply was lost
  elseif owner ~= token then
    done = 0
  elseif what == 'ack' then
    finish(id, grp, part, eid, ARGV[i + 5], ARGV[i + 6], ARGV[i + 7])
  elseif what == 'start' then
    redis.call('HSET', p .. ':tries:' .. id, field, first .. ' 0')
  elseif what == 'nack' then
    redis.call('HSET', p .. ':tries:' .. id, field, first .. ' ' .. (now() + tonumber(second)))
    if hold then
      redis.call('HDEL', p .. ':holds:' .. id, field)
      ring()
    end
  elseif what == 'extend' then
    if hold then redis.call('HSET', p .. ':holds:' .. id, field, token .. ' ' .. (now() + tonumber(first))) end
  elseif what == 'dead' then
    local found = redis.call('XRANGE', stream(part), eid, eid)
    if found[1] then
      local entry = fields(found[1][2])
      redis.call('XADD', p .. ':letters', '*', 'subscription', name, 'id', entry.id, 'key', entry.key,
        'entry', entry.entry, 'attempts', first, 'first', committed(eid, entry), 'last', now(),
        'reason', second, 'body', entry.body)
      redis.call('HINCRBY', p .. ':dead', name, 1)
    end
    finish(id, grp, part, eid, ARGV[i + 5], ARGV[i + 6], ARGV[i + 7])
  end
  result[#result + 1] = done
end
return result
