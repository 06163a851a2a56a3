-- Arguments: key, entry, term. Deletes a checkpoint, and fences every older term. Its gaps become those of the entry.
local key, entry, term = ARGV[1], ARGV[2], tonumber(ARGV[3])
also_when_full()
local newest = newest_term({key})
if newest > term then return {'LOST', newest} end
fence(term)
for _, gap in ipairs(redis.call('LRANGE', p .. ':gaps:' .. key, 0, -1)) do
  local known = cjson.decode(gap)
  known.reason = known.reason .. ' (' .. key .. ')'
  redis.call('RPUSH', p .. ':gaps:' .. entry, cjson.encode(known))
end
redis.call('LTRIM', p .. ':gaps:' .. entry, -100, -1)
redis.call('UNLINK', p .. ':checkpoint:' .. key, p .. ':inventory:' .. key, p .. ':objects:' .. key, p .. ':gaps:' .. key)
redis.call('SREM', p .. ':checkpoints', key)
return {'OK'}
