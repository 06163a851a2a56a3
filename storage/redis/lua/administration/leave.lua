-- Arguments: partitions, budget in commands, then numbers of subscriptions. Forgets entries that these have left, once nothing of
-- them is pending. The count of a subscription tells, unless a group of it was made again. Returns how many it has looked at, and
-- of which ones the groups have to tell: number and name, its state, and an entry.
also_when_full()
local partitions, left, looked, result = tonumber(ARGV[1]), tonumber(ARGV[2]), 0, {}

local function look(id)
  local known = entries_of(id)
  left = left - 2
  if #known < 2 then return end
  local of = redis.call('HMGET', p .. ':subscription:' .. id, 'name', 'pending', 'remade')
  for n = 1, #known - 1 do
    if wants(id, known[n]) then
      left = left - 1
    elseif of[3] then
      result[#result + 1] = {id, of[1], state_of(id), known[n]}
    elseif tonumber(of[2]) <= 0 then
      leave(id, known[n], partitions)
      left = left - partitions
    end
  end
end

for i = 3, #ARGV do
  if left <= 0 then break end
  look(ARGV[i])
  looked = looked + 1
end
return {looked, result}
