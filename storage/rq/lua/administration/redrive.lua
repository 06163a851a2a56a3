-- Arguments: maxPending, time as text, retries, then ids of dead letters. Delivers them again as new jobs and deletes them.
-- All checks come before the first write. Returns the ids that stay, each with the reason.
local result, more, ready = {}, {}, {}
for i = 4, #ARGV do
  local job = ARGV[i]
  local queue, name = place_of(job)
  if not queue then
    result[#result + 1] = {job, 'MISSING'}
  else
    local id = redis.call('HGET', p .. ':subscriptions', name)
    if not id then
      result[#result + 1] = {job, 'ENDED', name}
    else
      local sub = known(id)
      local pending = redis.call('ZCARD', sub.owed) + (more[id] or 0)
      if pending >= tonumber(ARGV[1]) then return {{'', 'FULL', name, tostring(pending)}} end
      more[id] = (more[id] or 0) + 1
      ready[#ready + 1] = {job, sub}
    end
  end
end
local time = #ready > 0 and stamp()
for _, pair in ipairs(ready) do
  local job, sub = pair[1], pair[2]
  local new = new_id(redis.call('HINCRBY', p .. ':meta', 'seq', 1), sub)
  local of = redis.call('HMGET', hash_of(job), 'rate_limit_key', 'committed', 'superseded')
  local before = superseded({job})[1]
  bury(of[3] and of[1], -1)
  redis.call('ZREM', failed(sub.queue), job)
  redis.call('RENAME', hash_of(job), hash_of(new))
  drop(job)
  redis.call('HDEL', hash_of(new), 'reason', 'exc_info', 'attempts', 'received', 'ended', 'enqueue_at_front', 'number_of_retries',
    'uncounted', 'successes')
  redis.call('HSET', hash_of(new), 'status', 'rate_limited', 'started_at', '', 'ended_at', '', 'worker_name', '',
    'retries_left', ARGV[3], 'redelivery', 'redrive', 'superseded', before)
  redis.call('HSETNX', hash_of(new), 'first_id', job)
  enqueue(sub, new, of[1], of[2] or now(), time, ARGV[2])
end
if #ready > 0 then notify() end
return result
