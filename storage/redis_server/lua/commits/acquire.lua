-- Arguments: key, term. Fences every older term of a checkpoint. Returns its number and state.
local checkpoint = p .. ':checkpoint:' .. ARGV[1]
local found = redis.call('HMGET', checkpoint, 'term', 'number', 'state')
if tonumber(found[1] or 0) > tonumber(ARGV[2]) then return {'LOST', found[1]} end
redis.call('HSET', checkpoint, 'term', ARGV[2])
redis.call('SADD', p .. ':checkpoints', ARGV[1])
return {'OK', found[2] or '0', found[3]}
