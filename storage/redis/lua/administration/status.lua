-- Arguments: numbers of subscriptions. Returns for each one its record, the number of its dead letters, its workers, the
-- number of events that are gone, the numbers of its entries, and when it was last rewound; nothing for one that is not there any
-- more.
local result = {}
for n, id in ipairs(ARGV) do
  local of = redis.call('HMGET', p .. ':subscription:' .. id, 'name', 'source', 'subject', 'registered', 'pending', 'gone',
    'rewound')
  local time, workers = now(), {}
  for _, token in ipairs(redis.call('ZRANGEBYSCORE', p .. ':workers:' .. id, time, '+inf')) do
    workers[#workers + 1] = redis.call('HGET', p .. ':holders:' .. id, token)
  end
  local dead = of[1] and redis.call('HGET', p .. ':dead', of[1]) or '0'
  result[n] = of[1] and {of[1], of[2], of[3], of[4], of[5], dead, workers, of[6] or '0', entries_of(id), of[7] or '0'} or false
end
return result
