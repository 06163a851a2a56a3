-- Arguments: ids. Deletes these dead letters. Returns how many there were.
also_when_full()
local count = 0
for _, id in ipairs(ARGV) do
  local found = redis.call('XRANGE', p .. ':letters', id, id)[1]
  if found then
    redis.call('XDEL', p .. ':letters', id)
    local of = fields(found[2])
    bury(of.subscription, of.place and of.key, -1)
    count = count + 1
  end
end
return count
