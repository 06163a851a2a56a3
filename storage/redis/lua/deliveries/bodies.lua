-- Arguments: stream and id of each entry. Returns their bodies.
local result = {}
for i = 1, #ARGV, 2 do
  local found = redis.call('XRANGE', stream(ARGV[i]), ARGV[i + 1], ARGV[i + 1])
  result[#result + 1] = found[1] and fields(found[1][2]).body or false
end
return result
