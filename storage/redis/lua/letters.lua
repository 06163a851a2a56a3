-- from, count, name or '': dead letters without their bodies, and the last id looked at.
local result, last = {}, ''
for _, pair in ipairs(redis.call('XRANGE', p .. ':letters', ARGV[1], '+', 'COUNT', ARGV[2])) do
  local of = fields(pair[2])
  last = pair[1]
  if ARGV[3] == '' or of.subscription == ARGV[3] then
    result[#result + 1] = {pair[1], of.subscription, of.id, of.key, of.reason, of.attempts, of.first, of.last}
  end
end
return {last, result}
