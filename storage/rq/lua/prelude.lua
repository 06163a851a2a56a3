-- Follows the prelude of all buses in a Redis, and precedes every script of a bus on RQ. The keys and fields of RQ are those
-- of RQ 3; a test compares them with what RQ itself writes.
local rq = redis.pcall('HGET', p .. ':meta', 'rq') -- RQ_KEY_PREFIX; rights.lua finds out if it is forbidden
if type(rq) ~= 'string' then rq = 'rq' end

local function hash_of(job) return rq .. ':job:' .. job end
local function queue_key(sub) return rq .. ':queue:' .. sub.queue end
local function started(sub) return rq .. ':wip:' .. sub.queue end
local function failed(queue) return rq .. ':failed:' .. queue end
local function executions(job) return rq .. ':executions:' .. job end

local function subscribers(entry) return p .. ':entry:' .. entry end

-- Called for each registration: its queue has whatever it is owed.
local function follow() end
local function follows() return true end

-- Called for each new subscription. Its queue has a name that people can type, and that no other subscription of any bus has;
-- it keeps it when it is ended and registered again, because its dead letters stay.
local function begin(id, name)
  local bus = string.match(p, '^{kubecdc:(.*)}$')
  local hash = string.sub(redis.sha1hex(bus .. '\n' .. name), 1, 8)
  local queue = 'kubecdc.' .. string.gsub(bus .. '.' .. string.gsub(name, '/', '.', 1), '[^%w_.-]', '_')
  if string.find(bus, '[^%w_-]') or not string.find(name, '^[%w_-]+/?[%w_-]*$') then queue = queue .. '-' .. hash end
  redis.call('HSET', p .. ':subscription:' .. id, 'queue', queue, 'hash', hash)
  redis.call('HSET', p .. ':queues', name, queue)
  redis.call('HSETNX', p .. ':places', hash, id .. ' ' .. queue .. ' ' .. name)
end

-- What a subscription is owed whose record somebody has deleted is in its queue.
local function recovered() return {} end

-- The queue and the subscription of a dead letter's job, by its id; nothing if there is no such dead letter. What a job says
-- of itself may be compressed, which RQ does when it saves one.
local function place_of(job)
  local hash = string.match(job, '%-(%x+)$')
  local place = hash and redis.call('HGET', p .. ':places', hash)
  if not place then return nil end
  local queue, name = string.match(place, '^%d+ (%S+) (.*)$')
  if redis.call('ZSCORE', failed(queue), job) and redis.call('EXISTS', hash_of(job)) == 1 then return queue, name end
end

-- A subscription by its id; nil if it was ended.
local function known(id)
  local found = redis.call('HMGET', p .. ':subscription:' .. id, 'name', 'queue', 'hash')
  if not found[1] or redis.call('HGET', p .. ':subscriptions', found[1]) ~= id then return nil end
  return {id = id, name = found[1], queue = found[2], hash = found[3], owed = p .. ':owed:' .. id,
    delayed = p .. ':delayed:' .. id}
end

-- A new job id: they sort in the order of their making, as RQ needs it for jobs that wait for the same lane.
local function new_id(number, sub)
  return string.format('%020d', number) .. '-' .. sub.hash
end

-- Seconds, as RQ scores waiting jobs; they never fall, whatever happens to the clock of a Redis.
local function stamp()
  local time = max(math.floor(now() / 1000), tonumber(redis.call('HGET', p .. ':meta', 'stamp') or 0))
  redis.call('HSET', p .. ':meta', 'stamp', time)
  return time
end

-- Lets the next job of a lane into its queue if none of the lane is there or at work (RQ: acquire_and_enqueue). Returns how
-- many it let in.
local function fill(lane, iso)
  local key, count = rq .. ':rl:' .. lane, 0
  while redis.call('ZCARD', key .. ':allowed') < 1 do
    local job = redis.call('ZPOPMIN', key .. ':rate_limited')[1]
    if not job then break end
    local found = redis.call('HMGET', hash_of(job), 'origin', 'status', 'enqueue_at_front')
    if found[1] and found[2] == 'rate_limited' then
      redis.call('ZADD', key .. ':allowed', math.floor(now() / 1000), job)
      redis.call(found[3] == '1' and 'LPUSH' or 'RPUSH', rq .. ':queue:' .. found[1], job)
      redis.call('HSET', hash_of(job), 'status', 'queued', 'enqueued_at', iso)
      count = count + 1
    end
  end
  return count
end

-- Frees the place of a job in its lane, and forgets a lane that is empty. Returns how many jobs it let in.
local function free(lane, job, iso)
  local key = rq .. ':rl:' .. lane
  redis.call('ZREM', key .. ':allowed', job)
  redis.call('ZREM', key .. ':rate_limited', job)
  local count = iso and fill(lane, iso) or 0
  if redis.call('ZCARD', key .. ':allowed') == 0 and redis.call('ZCARD', key .. ':rate_limited') == 0 then
    redis.call('SREM', rq .. ':rl-keys', lane)
    redis.call('DEL', key, key .. ':allowed', key .. ':rate_limited')
  end
  return count
end

-- Puts a job whose hash is written behind what is pending of its lane.
local function enqueue(sub, job, lane, committed, time, iso)
  redis.call('SADD', rq .. ':queues', queue_key(sub))
  redis.call('SADD', rq .. ':rl-keys', lane)
  redis.call('HSET', rq .. ':rl:' .. lane, 'concurrency', 1)
  redis.call('ZADD', rq .. ':rl:' .. lane .. ':rate_limited', time, job)
  redis.call('ZADD', sub.owed, committed, job)
  fill(lane, iso)
end

-- Whether a worker has the job, by RQ's record of its executions.
local function alive(job)
  return redis.call('ZCOUNT', executions(job), '(' .. string.format('%.3f', now() / 1000), '+inf') > 0
end

-- Forgets that a worker has the job.
local function forget(sub, job, execution, worker)
  local both = job .. ':' .. execution
  redis.call('ZREM', started(sub), both)
  redis.call('ZREM', executions(job), execution)
  redis.call('DEL', rq .. ':execution:' .. both)
  if worker and worker ~= '' then redis.call('SREM', rq .. ':worker:' .. worker .. ':executions', both) end
end

local function drop(job)
  local key = hash_of(job)
  redis.call('DEL', key, key .. ':dependents', key .. ':dependencies', rq .. ':results:' .. job, executions(job))
end

-- Of each lane that has dead letters, where a place is the number of a job: see count_letters.
local passed = p .. ':passed'

-- The number of a job, which grows with each commit. That of a redriven one is the number that it had at first.
local function number_of(job)
  return string.sub(redis.call('HGET', hash_of(job), 'first_id') or job, 1, 20)
end

-- Counts the dead letters of a lane; does nothing for a letter that was not put aside by `settle.lua`, without a lane.
local function bury(lane, count)
  if lane then count_letters(passed, lane, count) end
end

-- A job of the lane was done: its dead letters of earlier events are superseded.
local function supersede(lane, job)
  if lane and redis.call('HEXISTS', passed, lane) == 1 then pass(passed, lane, number_of(job)) end
end

-- Whether a later event of the object has been delivered since each of these dead letters was put aside: '1' or '0'; '' if it
-- is not known.
local function superseded(jobs)
  local found, lanes = {}, {}
  for n, job in ipairs(jobs) do
    found[n] = redis.call('HMGET', hash_of(job), 'superseded', 'first_id', 'rate_limit_key')
    lanes[n] = found[n][3] or ''
  end
  local known = #jobs > 0 and redis.call('HMGET', passed, unpack(lanes))
  for n, of in ipairs(found) do
    local latest = string.match(known[n] or '', '^%d+ (.*)$')
    local later = latest and latest > string.sub(of[2] or jobs[n], 1, 20)
    found[n] = of[1] == '0' and (later and '1' or '0') or of[1] or ''
  end
  return found
end

-- Records until when, in seconds, a worker has the job.
local function hold(sub, job, execution, worker, wait)
  local both, till = job .. ':' .. execution, string.format('%.3f', (now() + wait) / 1000)
  redis.call('ZADD', started(sub), till, both)
  redis.call('ZADD', executions(job), till, execution)
  redis.call('PEXPIRE', executions(job), wait + 60000)
  redis.call('PEXPIRE', rq .. ':execution:' .. both, wait)
end

-- Whether that worker still has the job. RQ takes a job whose time is over for abandoned, and not in one step: from then on
-- it is nobody's.
local function ours(sub, job, execution)
  local till = redis.call('ZSCORE', started(sub), job .. ':' .. execution)
  return till and tonumber(till) * 1000 > now()
end

-- Puts jobs whose delay is over at the front of their queue. Returns when the next one is due, in ms from now; -1: none.
local function bring_delayed(sub)
  local time = now()
  for _, job in ipairs(redis.call('ZRANGEBYSCORE', sub.delayed, '-inf', time, 'LIMIT', 0, 500)) do
    redis.call('ZREM', sub.delayed, job)
    redis.call('LPUSH', queue_key(sub), job)
  end
  local next = redis.call('ZRANGE', sub.delayed, 0, 0, 'WITHSCORES')[2]
  return next and max(0, tonumber(next) - time) or -1
end

-- Puts a job back that no worker has any more: at the front of its queue, with its place in its lane.
local function put_back(sub, job)
  redis.call('LREM', queue_key(sub) .. ':intermediate', 0, job)
  redis.call('HSET', hash_of(job), 'status', 'queued')
  redis.call('LPUSH', queue_key(sub), job)
  local lane = redis.call('HGET', hash_of(job), 'rate_limit_key')
  if lane then redis.call('ZADD', rq .. ':rl:' .. lane .. ':allowed', 'NX', math.floor(now() / 1000), job) end
end

-- Puts a job back that was seen where it should not stay, if that was so long ago, in ms. Returns whether it did.
local function put_back_after(sub, job, wait)
  local seen = p .. ':seen:' .. job
  redis.call('SET', seen, now(), 'NX', 'PX', 3600000)
  if now() - tonumber(redis.call('GET', seen)) < wait then return false end
  redis.call('DEL', seen)
  put_back(sub, job)
  return true
end

-- Forgets where the dead letters of an ended subscription are, once there are none.
local function forget_place(name, queue, job_or_hash)
  local hash = string.match(job_or_hash, '(%x+)$')
  if redis.call('ZCARD', failed(queue)) > 0 or redis.call('HGET', p .. ':subscriptions', name) then return end
  redis.call('SREM', rq .. ':queues', rq .. ':queue:' .. queue)
  redis.call('HDEL', p .. ':queues', name)
  redis.call('HDEL', p .. ':places', hash)
end
