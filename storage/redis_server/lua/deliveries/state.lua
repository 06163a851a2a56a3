-- Arguments: key, then 'put', version that it follows, version, ms, value; or 'delete', version. Returns 1 if done, 0
-- for a conflict.
local key = p .. ':' .. ARGV[1]
local found = redis.call('GET', key)
local version = found and string.match(found, '^%S*') or ''
if ARGV[2] == 'delete' then
  if version ~= '' and version ~= ARGV[3] then return 0 end
  redis.call('DEL', key)
  return 1
end
if version == ARGV[4] then return 1 end -- the reply was lost
if version ~= ARGV[3] then return 0 end
redis.call('SET', key, ARGV[4] .. ' ' .. ARGV[6], 'PX', ARGV[5])
return 1
