-- Arguments: token, holder, ms, least epoch. Takes the lead if no other process has it. Returns an epoch above every term
-- of the bus, or 0; and who leads.
also_when_full()
local leader = redis.call('GET', p .. ':leader')
if leader and string.match(leader, '^%S+') ~= ARGV[1] then return {0, string.match(leader, '^%S+ (.*)$')} end
redis.call('SET', p .. ':leader', ARGV[1] .. ' ' .. ARGV[2], 'PX', ARGV[3])
local epoch = max(newest_term({}) + 1, tonumber(ARGV[4]))
redis.call('HSET', p .. ':meta', 'epoch', epoch)
return {epoch, ARGV[2]}
