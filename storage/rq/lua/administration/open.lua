-- Arguments: partitions, format, create, RQ's prefix. Returns format, partitions and prefix of the bus, or nothing.
local found = redis.call('HMGET', p .. ':meta', 'format', 'partitions', 'rq')
if not found[1] and ARGV[3] == '1' then
  redis.call('HSET', p .. ':meta', 'partitions', ARGV[1], 'format', ARGV[2], 'rq', ARGV[4])
  return {ARGV[2], ARGV[1], ARGV[4]}
end
return found
