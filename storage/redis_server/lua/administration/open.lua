-- Arguments: partitions, format, create. Returns format and partitions of the bus, or nothing if there is none.
local found = redis.call('HMGET', p .. ':meta', 'format', 'partitions')
if not found[1] and ARGV[3] == '1' then
  redis.call('HSET', p .. ':meta', 'partitions', ARGV[1], 'format', ARGV[2])
  return {ARGV[2], ARGV[1]}
end
return found
