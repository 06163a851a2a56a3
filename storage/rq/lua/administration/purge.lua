-- Arguments: ids. Deletes these dead letters. Returns how many there were.
also_when_full()
local count = 0
for _, job in ipairs(ARGV) do
  local hash = string.match(job, '%-(%x+)$')
  local queue = hash and string.match(redis.call('HGET', p .. ':places', hash) or '', ' (.*)$')
  if queue and redis.call('ZREM', failed(queue), job) == 1 then
    drop(job)
    count = count + 1
  end
end
return count
