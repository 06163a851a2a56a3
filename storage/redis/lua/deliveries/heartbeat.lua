-- Arguments: name, token, holder, ms, partitions. Records that the worker is alive, and takes free partitions up to a
-- fair share. A partition is free if its owner has sent no heartbeat for its ack_wait. Returns the subscription's id,
-- the share, the worker's partitions, those of them that it got just now (another worker may have had them since it
-- lost them), the run id of the server, and the numbers of the subscription's entries.
also_when_full()
local id = redis.call('HGET', p .. ':subscriptions', ARGV[1])
if not id or not redis.call('HGET', p .. ':subscription:' .. id, 'name') then return {} end
local token, partitions, time = ARGV[2], tonumber(ARGV[5]), now()
local workers, holders, leases = p .. ':workers:' .. id, p .. ':holders:' .. id, p .. ':leases:' .. id
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', workers, '-inf', time)) do
  redis.call('ZREM', workers, gone)
  redis.call('HDEL', holders, gone)
end
if redis.call('ZADD', workers, time + tonumber(ARGV[4]), token) == 1 and redis.call('ZCARD', workers) > 1 then
  notify(id) -- the others give up what is above their new share
end
redis.call('HSET', holders, token, time .. ' ' .. ARGV[3])
local share = math.ceil(partitions / redis.call('ZCARD', workers))
local owners = fields(redis.call('HGETALL', leases))
local mine, free, fresh = {}, {}, {}
for partition = 0, partitions - 1 do
  local owner = owners[tostring(partition)]
  if owner == token then
    mine[#mine + 1] = partition
  elseif not owner or not redis.call('ZSCORE', workers, owner) then
    free[#free + 1] = partition
  end
end
for _, partition in ipairs(free) do
  if #mine >= share then break end
  redis.call('HSET', leases, partition, token)
  mine[#mine + 1] = partition
  fresh[#fresh + 1] = partition
end
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
return {id, share, mine, fresh, run, entries_of(id)}
