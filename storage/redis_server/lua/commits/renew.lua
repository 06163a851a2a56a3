-- Arguments: token, ms. Renews the lead for so long; 0 hands it over. Returns whether the lead was ours.
local leader = redis.call('GET', p .. ':leader')
if not leader or string.match(leader, '^%S+') ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then return redis.call('DEL', p .. ':leader') end
return redis.call('PEXPIRE', p .. ':leader', ARGV[2])
