-- Arguments: partitions, count, format. Brings a bus of format 1 to format 2, where each entry has streams of its own.
-- What its streams have stays there, and each subscription reads it first. Returns 1 if there is more to do: the groups of
-- `count` subscriptions are made at a time. The last step has all subscriptions at once. After it, processes that know only
-- format 1 find no subscriber, so they commit nothing: their watcher waits until it is replaced.
if redis.call('HGET', p .. ':meta', 'format') ~= '1' then return 0 end
local function entry_of(id)
  local of = redis.call('HMGET', p .. ':subscription:' .. id, 'source', 'subject')
  return of[1] .. '\n' .. of[2]
end
local registered, done = redis.call('HGETALL', p .. ':subscriptions'), 0
for i = 2, #registered, 2 do
  local id = registered[i]
  if redis.call('HEXISTS', p .. ':subscription:' .. id, 'entries') == 0 then
    if done == tonumber(ARGV[2]) then return 1 end
    follow(id, entry_of(id), tonumber(ARGV[1]))
    done = done + 1
  end
end
for i = 2, #registered, 2 do
  local id = registered[i]
  local entry = entry_of(id)
  follow(id, entry, tonumber(ARGV[1]))
  redis.call('DEL', p .. ':entry:' .. entry)
  redis.call('SADD', subscribers(entry), id)
end
redis.call('HSET', p .. ':meta', 'format', ARGV[3])
return 0
