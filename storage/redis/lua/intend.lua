-- key, follows, after, term, token, then uid and record of each: remember objects that are about to be announced elsewhere.
local inventory = p .. ':inventory:' .. ARGV[1]
local found = redis.call('HMGET', p .. ':checkpoint:' .. ARGV[1], 'term', 'number', 'token')
local number, follows = tonumber(found[2] or 0), tonumber(ARGV[2])
if tonumber(found[1] or 0) > tonumber(ARGV[4]) then return {'LOST', found[1]} end
if number == follows + 1 and found[3] == ARGV[5] then return {'DONE'} end
if number ~= follows or (ARGV[3] ~= '' and found[3] ~= ARGV[3]) then return {'MISMATCH', number} end
for i = 6, #ARGV, 2 do
  if redis.call('HSETNX', inventory, ARGV[i], ARGV[i + 1]) == 0 then
    local known = cjson.decode(redis.call('HGET', inventory, ARGV[i]))
    if cjson.decode(ARGV[i + 1])[4] and not known[4] then
      known[4] = true
      redis.call('HSET', inventory, ARGV[i], cjson.encode(known))
    end
  end
end
return {'OK'}
