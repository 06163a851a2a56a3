-- Arguments: id, token, leave, number of partitions, the partitions, then stream, id, ms of each entry in flight
-- there. Gives partitions back. The next owner of a partition does not deliver entries in flight until they are settled
-- or their time has passed.
also_when_full()
local id, token, count, time = ARGV[1], ARGV[2], tonumber(ARGV[4]), now()
local given = {}
for i = 5, 4 + count do
  if redis.call('HGET', p .. ':leases:' .. id, ARGV[i]) == token then
    redis.call('HDEL', p .. ':leases:' .. id, ARGV[i])
    given[ARGV[i]] = true
  end
end
-- A settlement may have come here just before, and its reply not yet to the worker. What was acked is over. What was
-- nacked has the time when it is due, until it is started again: if it was handed out anew, its start finds out.
local function in_flight(name, eid)
  local pending = redis.pcall('XPENDING', stream(name), group(id), eid, eid, 1)
  if pending.err or #pending == 0 then return false end
  local tries = redis.call('HGET', p .. ':tries:' .. id, name .. '/' .. eid)
  return not tries or string.match(tries, ' 0$') ~= nil
end
for i = 5 + count, #ARGV, 3 do
  if given[partition_of(ARGV[i])] and in_flight(ARGV[i], ARGV[i + 1]) then
    redis.call('HSET', p .. ':holds:' .. id, ARGV[i] .. '/' .. ARGV[i + 1], token .. ' ' .. (time + tonumber(ARGV[i + 2])))
  end
end
if ARGV[3] == '1' then
  redis.call('ZREM', p .. ':workers:' .. id, token)
  redis.call('HDEL', p .. ':holders:' .. id, token)
end
notify(id)
