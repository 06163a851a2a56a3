-- Arguments: ids. Deletes these dead letters. Returns how many there were.
also_when_full()
local count = 0
for _, job in ipairs(ARGV) do
  local queue, name = place_of(job)
  if queue then
    local of = redis.call('HMGET', hash_of(job), 'rate_limit_key', 'superseded')
    bury(of[2] and of[1], -1)
    redis.call('ZREM', failed(queue), job)
    drop(job)
    forget_place(name, queue, job)
    count = count + 1
  end
end
return count
