-- Arguments: name, term, state. Replaces what is known of an entry as a whole.
local term = tonumber(ARGV[2])
local newest = newest_term({})
if newest > term then return {'LOST', newest} end
fence(term)
redis.call('HSET', p .. ':entry-states', ARGV[1], ARGV[3])
return {'OK'}
