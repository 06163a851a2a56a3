-- Arguments: id, job, worker, ms. For a job that RQ's own worker has begun. Returns its execution, how often it was received
-- and attempted before, why it is delivered again, and what is kept of failures; 'LOST' if no such worker has it, nothing if
-- the subscription was ended.
local sub, job, worker = known(ARGV[1]), ARGV[2], ARGV[3]
if not sub then return false end
also_when_full()
local key = hash_of(job)
for _, execution in ipairs(redis.call('ZREVRANGE', executions(job), 0, -1)) do
  if redis.call('HGET', rq .. ':execution:' .. job .. ':' .. execution, 'worker_name') == worker
    and ours(sub, job, execution) then
    local of = redis.call('HMGET', key, 'committed', 'received', 'attempts', 'reason', 'redelivery', 'uncounted',
      'successes')
    if of[4] then -- a dead letter that was requeued with RQ's own tools
      redis.call('HDEL', key, 'reason', 'attempts', 'uncounted', 'successes')
      of[3], of[6], of[7] = false, false, false
    end
    redis.call('HINCRBY', key, 'received', 1)
    redis.call('ZADD', sub.owed, 'NX', of[1] or now(), job)
    hold(sub, job, execution, worker, tonumber(ARGV[4]))
    return {execution, of[2] or '0', of[3] or '0', of[5] or '', of[6] or '0', of[7] or '0'}
  end
end
return {'LOST'}
