-- name, token, holder, ms, partitions: say that the worker lives, take free partitions up to a fair share.
-- A partition whose owner has not said so for its ack_wait is free. Returns the id, the share, what the
-- worker has, which of it only now (it may have had it before, and another in between), and which run of a server this is.
also_when_full()
local id = redis.call('HGET', p .. ':subscriptions', ARGV[1])
if not id then return {} end
local token, partitions, time = ARGV[2], tonumber(ARGV[5]), now()
local workers, holders, leases = p .. ':workers:' .. id, p .. ':holders:' .. id, p .. ':leases:' .. id
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', workers, '-inf', time)) do
  redis.call('ZREM', workers, gone)
  redis.call('HDEL', holders, gone)
end
redis.call('ZADD', workers, time + tonumber(ARGV[4]), token)
redis.call('HSET', holders, token, time .. ' ' .. ARGV[3])
local share = math.ceil(partitions / redis.call('ZCARD', workers))
local owners = fields(redis.call('HGETALL', leases))
local mine, free, fresh = {}, {}, {}
for part = 0, partitions - 1 do
  local owner = owners[tostring(part)]
  if owner == token then
    mine[#mine + 1] = part
  elseif not owner or not redis.call('ZSCORE', workers, owner) then
    free[#free + 1] = part
  end
end
for _, part in ipairs(free) do
  if #mine >= share then break end
  redis.call('HSET', leases, part, token)
  mine[#mine + 1] = part
  fresh[#fresh + 1] = part
end
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
return {id, share, mine, fresh, run}
