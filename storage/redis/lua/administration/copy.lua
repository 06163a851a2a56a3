-- Arguments: id, partition, last, entry, number of events, the events, then partitionkeys. Copies the events, and what
-- was committed of those keys after `last`, in one step. Returns how many; nothing if the subscription was ended.
local id, partition, last, wanted, count = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local name = redis.call('HGET', p .. ':subscription:' .. id, 'name')
if not name or redis.call('HGET', p .. ':subscriptions', name) ~= id then return false end
local forgotten = tonumber(redis.call('HGET', p .. ':meta', 'forgotten') or 0)
local keys, found = {}, {}
for i = 6 + count, #ARGV do keys[ARGV[i]] = true end
for i = 6, 5 + count do
  local pair = redis.call('XRANGE', stream(partition), ARGV[i], ARGV[i])[1]
  if pair and committed(pair[1], {}) > forgotten then found[#found + 1] = pair end
end
for _, pair in ipairs(redis.call('XRANGE', stream(partition), '(' .. last, '+')) do
  local entry = fields(pair[2])
  if entry.entry == wanted and not entry.again and keys[entry.key] then found[#found + 1] = pair end
end
for _, pair in ipairs(found) do
  local entry = fields(pair[2])
  redis.call('XADD', stream(partition), '*', 'seq', entry.seq, 'key', entry.key, 'id', entry.id, 'entry', entry.entry,
    'for', ',' .. id .. ',', 'again', 1, 'committed', committed(pair[1], {}), 'body', entry.body)
end
if #found > 0 then
  redis.call('HINCRBY', p .. ':subscription:' .. id, 'pending', #found)
  notify()
end
return #found
