-- Arguments: id, worker, ms, then the fields of RQ's record of a worker. Tells that a worker lives; 0 ms: that it has ended.
local sub, worker, wait = known(ARGV[1]), ARGV[2], tonumber(ARGV[3])
also_when_full()
local key = rq .. ':worker:' .. worker
if wait == 0 then
  redis.call('SREM', rq .. ':workers', key)
  redis.call('DEL', key)
  if sub then redis.call('SREM', rq .. ':workers:' .. sub.queue, key) end
elseif sub then
  redis.call('HSET', key, 'queues', sub.queue, unpack(ARGV, 4))
  redis.call('PEXPIRE', key, wait)
  redis.call('SADD', rq .. ':workers', key)
  redis.call('SADD', rq .. ':workers:' .. sub.queue, key)
end
