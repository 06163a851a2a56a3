-- Arguments: id, then stream and id of each entry. Returns their bodies; nothing for those that somebody deleted, which are given
-- up.
local id, result = ARGV[1], {}
also_when_full()
for i = 2, #ARGV, 2 do
  local found = redis.call('XRANGE', stream(ARGV[i]), ARGV[i + 1], ARGV[i + 1])
  result[#result + 1] = found[1] and fields(found[1][2]).body or false
  if not found[1] then give_up(id, group(id), ARGV[i], ARGV[i + 1]) end
end
return result
