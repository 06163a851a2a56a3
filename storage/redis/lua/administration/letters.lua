-- Arguments: from, count, bytes, subscription or ''. Returns the last id that was read, and dead letters without
-- bodies.
local found = some(tonumber(ARGV[2]), tonumber(ARGV[3]), function(n, last)
  return redis.call('XRANGE', p .. ':letters', last and '(' .. last or ARGV[1], '+', 'COUNT', n)
end)
local result, last = {}, ''
for _, pair in ipairs(found) do
  local of = fields(pair[2])
  last = pair[1]
  if ARGV[4] == '' or of.subscription == ARGV[4] then
    result[#result + 1] = {pair[1], of.subscription, of.id, of.key, of.reason, of.attempts, of.first, of.last,
      superseded(of)}
  end
end
return {last, result}
