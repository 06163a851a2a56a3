-- Arguments: id, stream, last, entry, count, bytes, number of events, the events as stream/id,
-- then partitionkeys. Copies the events into the stream, and what was committed of those keys after `last`, in one step. Returns
-- how many; -1 if more than `count` events or `bytes` came after `last`, which are to be found first; nothing if the subscription
-- was ended.
local id, place, last, wanted, count = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[7])
local name = redis.call('HGET', p .. ':subscription:' .. id, 'name')
if not name or redis.call('HGET', p .. ':subscriptions', name) ~= id then return false end
local newer, _, more = some(tonumber(ARGV[5]), tonumber(ARGV[6]), function(n, after)
  return redis.call('XRANGE', stream(place), '(' .. (after or last), '+', 'COUNT', n)
end)
if more then return -1 end
local forgotten = tonumber(redis.call('HGET', p .. ':meta', 'forgotten') or 0)
local keys, found = {}, {}
for i = 8 + count, #ARGV do keys[ARGV[i]] = true end
for i = 8, 7 + count do
  local from, eid = string.match(ARGV[i], '^([%d:]+)/([%d-]+)$')
  local pair = redis.call('XRANGE', stream(from), eid, eid)[1]
  if pair and committed(pair[1], {}) > forgotten then found[#found + 1] = pair end
end
for _, pair in ipairs(newer) do
  local entry = fields(pair[2])
  if entry.entry == wanted and not entry.again and keys[entry.key] then found[#found + 1] = pair end
end
for _, pair in ipairs(found) do
  local entry = fields(pair[2])
  redis.call('XADD', stream(place), '*', 'seq', entry.seq, 'key', entry.key, 'id', entry.id, 'entry', entry.entry,
    'for', ',' .. id .. ',', 'again', 1, 'committed', committed(pair[1], {}),
    'body', redelivered(entry.body, 'replay'))
end
if #found > 0 then
  redis.call('HINCRBY', p .. ':subscription:' .. id, 'pending', #found)
  rewind(id)
  notify(id, partition_of(place))
end
return #found
