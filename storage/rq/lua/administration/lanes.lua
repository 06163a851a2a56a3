-- Arguments: cursor, count, prefix of lanes, time as text. Lets lanes go on whose first job has ended while its place was not
-- given away, because RQ's own worker died between the two. Returns the next cursor, '0' at the end.
also_when_full()
local found, changed = redis.call('SSCAN', rq .. ':rl-keys', ARGV[1], 'COUNT', ARGV[2]), false
for _, lane in ipairs(found[2]) do
  if string.sub(lane, 1, #ARGV[3]) == ARGV[3] then
    for _, job in ipairs(redis.call('ZRANGE', rq .. ':rl:' .. lane .. ':allowed', 0, -1)) do
      local status = redis.call('HGET', hash_of(job), 'status')
      if status ~= 'queued' and status ~= 'started' and not alive(job) then
        changed = free(lane, job, ARGV[4]) > 0 or changed
      end
    end
    changed = fill(lane, ARGV[4]) > 0 or changed
  end
end
if changed then notify() end
return found[1]
