-- Arguments: key, follows, after, term, token, then uid and record of each object. Records objects whose events are
-- about to be published elsewhere.
local inventory = p .. ':inventory:' .. ARGV[1]
local answer = refused(ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), ARGV[5], epoch())
if answer then return answer end
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
