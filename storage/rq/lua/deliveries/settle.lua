-- Arguments: id, job, execution, worker, what, then what that takes. Returns 'OK' and how many jobs of the lane may go on;
-- 'LOST' if the job is not the worker's any more. Of a subscription that was ended, nothing is left to be done.
--   ack      time as text, whether the trigger ran: then it is a success ('1')
--   release  delay in ms, attempts, what is kept of failures: how many do not count, successes at the last one
--   dead     time as text, attempts, reason, compressed reason, fields of RQ's result
--   extend   ms, time as text
--   attempt  attempts, what is kept of failures
--   ending   attempts, reason or '', whether it is a success: RQ's own worker ends the job next, as done or as failed
local sub, job, execution, worker, what = known(ARGV[1]), ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if not sub then return {'OK', 0} end
also_when_full()
if not ours(sub, job, execution) then return {'LOST'} end
local key = hash_of(job)
local going = 0
local function succeeded()
  redis.call('HINCRBY', p .. ':subscription:' .. sub.id, 'successes', 1)
end
if what == 'ack' then
  local lane = redis.call('HGET', key, 'rate_limit_key')
  forget(sub, job, execution, worker)
  if ARGV[7] == '1' then
    supersede(lane, job)
    succeeded()
  end
  drop(job)
  redis.call('ZREM', sub.owed, job)
  if lane then going = free(lane, job, ARGV[6]) end
elseif what == 'release' then
  forget(sub, job, execution, worker)
  redis.call('HSET', key, 'status', 'queued', 'attempts', ARGV[7], 'uncounted', ARGV[8], 'successes', ARGV[9],
    'worker_name', '')
  if tonumber(ARGV[6]) > 0 then
    redis.call('ZADD', sub.delayed, now() + tonumber(ARGV[6]), job)
  else
    redis.call('LPUSH', queue_key(sub), job)
  end
  notify(sub.id)
  going = 1
elseif what == 'dead' then
  local lane = redis.call('HGET', key, 'rate_limit_key')
  forget(sub, job, execution, worker)
  redis.call('HSET', key, 'status', 'failed', 'ended_at', ARGV[6], 'attempts', ARGV[7], 'reason', ARGV[8],
    'exc_info', ARGV[9], 'ended', now())
  redis.call('HSETNX', key, 'superseded', '0')
  bury(lane, 1)
  redis.call('ZADD', failed(sub.queue), -1, job)
  redis.call('XADD', rq .. ':results:' .. job, 'MAXLEN', 10, '*', unpack(ARGV, 10))
  redis.call('ZREM', sub.owed, job)
  if lane then going = free(lane, job, ARGV[6]) end
elseif what == 'extend' then
  hold(sub, job, execution, worker, tonumber(ARGV[6]))
  redis.call('HSET', key, 'last_heartbeat', ARGV[7])
elseif what == 'attempt' then
  redis.call('HSET', key, 'attempts', ARGV[6], 'uncounted', ARGV[7], 'successes', ARGV[8])
elseif what == 'ending' then
  redis.call('HSET', key, 'attempts', ARGV[6], 'ended', now())
  local lane = redis.call('HGET', key, 'rate_limit_key')
  local success = ARGV[7] == '' and ARGV[8] == '1'
  if success then
    supersede(lane, job)
  elseif ARGV[7] ~= '' and redis.call('HSET', key, 'reason', ARGV[7]) > 0 then
    redis.call('HSETNX', key, 'superseded', '0')
    bury(lane, 1)
  end
  if redis.call('ZREM', sub.owed, job) == 1 and success then succeeded() end
end
return {'OK', going}
