-- Arguments: key, term. Fences every older term, for all checkpoints. Returns number and state of this one.
local checkpoint, term = p .. ':checkpoint:' .. ARGV[1], tonumber(ARGV[2])
local newest = newest_term({ARGV[1]})
if newest > term then return {'LOST', newest} end
fence(term)
redis.call('HSET', checkpoint, 'term', term)
redis.call('SADD', p .. ':checkpoints', ARGV[1])
local found = redis.call('HMGET', checkpoint, 'number', 'state')
return {'OK', found[1] or '0', found[2]}
