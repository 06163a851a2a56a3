-- Arguments: stream, from, count, bytes, entry. Returns the last id that was read, whether there may be more, and
-- the retained events of the entry without their bodies.
local found, _, more = some(tonumber(ARGV[3]), tonumber(ARGV[4]), function(n, last)
  return redis.call('XRANGE', stream(ARGV[1]), last and '(' .. last or ARGV[2], '+', 'COUNT', n)
end)
local result, last = {}, ''
for _, pair in ipairs(found) do
  local entry = fields(pair[2])
  last = pair[1]
  if entry.entry == ARGV[5] and not entry.again then
    result[#result + 1] = {pair[1], entry.seq, entry.key, entry.id, committed(pair[1], entry), #entry.body}
  end
end
return {last, more and 1 or 0, result}
