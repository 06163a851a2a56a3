-- Arguments: bytes, ids. Deletes these dead letters, until it has read about so many bytes: a letter comes with its body.
-- Returns how many ids it has looked at, and how many dead letters there were.
also_when_full()
local left, looked, count = tonumber(ARGV[1]), 0, 0
for i = 2, #ARGV do
  if left <= 0 then break end
  local id = ARGV[i]
  local found = redis.call('XRANGE', p .. ':letters', id, id)[1]
  looked, left = looked + 1, left - 1000
  if found then
    left = left - #found[2][#found[2]] -- the body is the last field
    redis.call('XDEL', p .. ':letters', id)
    local of = fields(found[2])
    bury(of.subscription, of.place and of.key, -1)
    count = count + 1
  end
end
return {looked, count}
