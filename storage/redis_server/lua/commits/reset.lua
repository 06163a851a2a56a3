-- Argument: key. Deletes state and inventory. The number grows, so that a leader at work notices. Returns 0 if there
-- was no state.
local checkpoint = p .. ':checkpoint:' .. ARGV[1]
also_when_full()
local found = redis.call('HDEL', checkpoint, 'state')
if found == 1 then
  redis.call('HINCRBY', checkpoint, 'number', 1)
  redis.call('HSET', checkpoint, 'token', '')
end
redis.call('UNLINK', p .. ':inventory:' .. ARGV[1], p .. ':objects:' .. ARGV[1])
return found
