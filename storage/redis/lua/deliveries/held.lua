-- Arguments: id, token, then stream and id of each entry that another worker had in flight. Returns what became of
-- each.
local id, token, time, result = ARGV[1], ARGV[2], now(), {}
also_when_full()
for i = 3, #ARGV, 2 do
  local name, eid = ARGV[i], ARGV[i + 1]
  local field = name .. '/' .. eid
  local pending = redis.pcall('XPENDING', stream(name), group(id), eid, eid, 1)
  local hold = redis.call('HGET', p .. ':holds:' .. id, field)
  local left = hold and tonumber(string.match(hold, ' (%d+)$')) - time or 0
  if pending.err or #pending == 0 then
    result[#result + 1] = {'GONE'}
  elseif left > 0 then
    result[#result + 1] = {'HELD', left}
  elseif redis.call('HGET', p .. ':leases:' .. id, partition_of(name)) ~= token then
    result[#result + 1] = {'LOST'}
  else
    redis.call('HDEL', p .. ':holds:' .. id, field)
    result[#result + 1] = {'OURS', time, redis.call('HGET', p .. ':tries:' .. id, field) or '',
      redis.call('HGET', p .. ':failures:' .. id, field) or ''}
  end
end
return result
