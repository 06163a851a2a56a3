-- Arguments: id, ms between two sweeps, ms until a job counts as left behind. Puts back what workers that died have had: at
-- the front, without giving its place in its lane away. It is one step, so no lock can outlive a process that holds it.
local sub = known(ARGV[1])
also_when_full()
if not sub or not redis.call('SET', p .. ':swept:' .. ARGV[1], 1, 'NX', 'PX', ARGV[2]) then return end
bring_delayed(sub)
local time = now()
local between = queue_key(sub) .. ':intermediate' -- RQ's own worker moves a job there, and out of it once it has forked
local changed = false
for _, both in ipairs(redis.call('ZRANGEBYSCORE', started(sub), 0, time / 1000, 'LIMIT', 0, 500)) do
  local job, execution = string.match(both, '^([^:]*):(.*)$')
  if not job then
    redis.call('ZREM', started(sub), both)
  else
    local of = redis.call('HMGET', hash_of(job), 'status', 'worker_name')
    forget(sub, job, execution, of[2])
    if of[1] == 'started' and not alive(job) then
      put_back(sub, job)
      changed = true
    end
  end
end
for _, job in ipairs(redis.call('LRANGE', between, 0, 99)) do
  local status = redis.call('HGET', hash_of(job), 'status')
  if status ~= 'queued' and status ~= 'started' then
    redis.call('LREM', between, 1, job)
  elseif not alive(job) then
    changed = put_back_after(sub, job, tonumber(ARGV[3])) or changed
  end
end
if changed then notify(sub.id) end
