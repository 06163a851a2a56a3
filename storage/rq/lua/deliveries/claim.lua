-- Arguments: id, ms, worker, time as text, bytes, then a new execution id for each job that is wanted. Gives the next jobs of
-- a queue to a worker. Returns when the next delayed one is due, and of each job: id, execution, data, how often it was
-- received and attempted before, why it is delivered again, and what is kept of failures. Nothing if the subscription was
-- ended.
local sub = known(ARGV[1])
if not sub then return false end
also_when_full()
local wait, worker, iso, bytes = tonumber(ARGV[2]), ARGV[3], ARGV[4], tonumber(ARGV[5])
local due, found, size = bring_delayed(sub), {}, 0
if redis.call('EXISTS', rq .. ':suspended') == 1 then return {due, found} end -- `rq suspend`
while #found < #ARGV - 5 and size < bytes do
  local job = redis.call('LPOP', queue_key(sub))
  if not job then break end
  local key = hash_of(job)
  local of = redis.call('HMGET', key, 'data', 'committed', 'received', 'attempts', 'reason', 'status', 'redelivery',
    'uncounted', 'successes')
  if of[1] and not (of[6] == 'started' and alive(job)) then -- else it was deleted, or is in the queue twice
    local execution = ARGV[6 + #found]
    local both = job .. ':' .. execution
    if of[5] then -- a dead letter that was requeued with RQ's own tools
      redis.call('HDEL', key, 'reason', 'attempts', 'uncounted', 'successes', 'exc_info', 'ended_at')
      of[4], of[8], of[9] = false, false, false
    end
    redis.call('HSET', key, 'status', 'started', 'started_at', iso, 'last_heartbeat', iso, 'worker_name', worker,
      'received', (of[3] or 0) + 1)
    redis.call('HSET', rq .. ':execution:' .. both, 'id', execution, 'job_id', job, 'worker_name', worker,
      'created_at', now() / 1000, 'last_heartbeat', now() / 1000)
    hold(sub, job, execution, worker, wait)
    redis.call('ZADD', sub.owed, 'NX', of[2] or now(), job)
    found[#found + 1] = {job, execution, of[1], of[3] or '0', of[4] or '0', of[7] or '', of[8] or '0', of[9] or '0'}
    size = size + #of[1]
  end
end
return {due, found}
