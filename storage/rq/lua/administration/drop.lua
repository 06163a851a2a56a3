-- Argument: count. Deletes so many jobs of a subscription that ended, but no dead letters. Returns 1 if there may be more.
also_when_full()
local id = redis.call('SRANDMEMBER', p .. ':ended')
if not id then return 0 end
local owed = p .. ':owed:' .. id
local jobs = redis.call('ZRANGE', owed, 0, tonumber(ARGV[1]) - 1)
for _, job in ipairs(jobs) do
  local of = redis.call('HMGET', hash_of(job), 'status', 'rate_limit_key')
  if of[1] ~= 'failed' then drop(job) end
  if of[2] then free(of[2], job) end
  redis.call('ZREM', owed, job)
end
if #jobs > 0 then return 1 end
local of = redis.call('HMGET', p .. ':subscription:' .. id, 'name', 'queue', 'hash')
if of[1] and not redis.call('HGET', p .. ':subscriptions', of[1]) then -- else it was registered again meanwhile
  local queue = rq .. ':queue:' .. of[2]
  redis.call('DEL', queue, queue .. ':intermediate', rq .. ':wip:' .. of[2], rq .. ':workers:' .. of[2])
  forget_place(of[1], of[2], of[3])
end
redis.call('DEL', p .. ':subscription:' .. id, p .. ':delayed:' .. id)
redis.call('SREM', p .. ':ended', id)
return 1
