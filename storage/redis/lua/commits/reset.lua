-- key: forget state and inventory. The number moves on, which is how a leader at work notices.
local checkpoint = p .. ':checkpoint:' .. ARGV[1]
also_when_full()
local found = redis.call('HDEL', checkpoint, 'state')
if found == 1 then
  redis.call('HINCRBY', checkpoint, 'number', 1)
  redis.call('HSET', checkpoint, 'token', '')
end
redis.call('UNLINK', p .. ':inventory:' .. ARGV[1], p .. ':objects:' .. ARGV[1])
return found
