-- Arguments: key, then 'put', version that it follows, version, ms, value; or 'delete', version. Returns 1 if done, 0
-- for a conflict.
local key = p .. ':' .. ARGV[1]
local scope, name = string.match(ARGV[1], '^state:([^\n]*)\n(.*)$')
local index = p .. ':states:' .. scope -- the keys of the scope, by the time when they expire
local found = redis.call('GET', key)
local version = found and string.match(found, '^%S*') or ''
if ARGV[2] == 'delete' then
  if version ~= '' and version ~= ARGV[3] then return 0 end
  redis.call('DEL', key)
  redis.call('ZREM', index, name)
  return 1
end
if version == ARGV[4] then return 1 end -- the reply was lost
if version ~= ARGV[3] then return 0 end
redis.call('SET', key, ARGV[4] .. ' ' .. ARGV[6], 'PX', ARGV[5])
redis.call('ZADD', index, now() + ARGV[5], name)
redis.call('PEXPIRE', index, 400 * 86400000) -- no value lives longer
if version == '' then -- another key: a few of those that have expired leave
  local expired = redis.call('ZRANGEBYSCORE', index, '-inf', now(), 'LIMIT', 0, 10)
  if #expired > 0 then redis.call('ZREM', index, unpack(expired)) end
end
return 1
