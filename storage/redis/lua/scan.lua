-- partition, from, count, entry: retained events of an entry without their bodies, the last id looked at, how many were.
local found = redis.call('XRANGE', stream(ARGV[1]), ARGV[2], '+', 'COUNT', ARGV[3])
local result, last = {}, ''
for _, pair in ipairs(found) do
  local entry = fields(pair[2])
  last = pair[1]
  if entry.entry == ARGV[4] and not entry.again then
    result[#result + 1] = {pair[1], entry.seq, entry.key, entry.id, committed(pair[1], entry)}
  end
end
return {last, #found, result}
