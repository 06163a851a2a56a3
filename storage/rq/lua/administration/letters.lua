-- Arguments: queue, last id or '', count. Returns dead letters of a queue, oldest first, without the events.
local result = {}
local from = ARGV[2] == '' and '-' or '(' .. ARGV[2]
local jobs = redis.call('ZRANGEBYLEX', failed(ARGV[1]), from, '+', 'LIMIT', 0, ARGV[3])
local known = superseded(jobs)
for n, job in ipairs(jobs) do
  result[#result + 1] = {job, redis.call('HMGET', hash_of(job), 'meta', 'reason', 'exc_info', 'attempts', 'committed', 'ended',
    'ended_at'), known[n]}
end
return result
