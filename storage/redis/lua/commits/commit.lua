-- Makes a checkpoint step, or publishes events, or both, all or nothing: all checks come before the first write.
local at = 0
local function arg()
  at = at + 1
  return ARGV[at]
end
local key, follows, after, term, token = arg(), tonumber(arg()), arg(), tonumber(arg()), arg()
local state, gap = arg(), arg()
local full = tonumber(arg())
local upserts, bodies, removals, entries, events = {}, {}, {}, {}, tonumber(ARGV[13])
local function list(into, size)
  for i = 1, size do into[i] = arg() end
end
local counts = {tonumber(arg()), tonumber(arg()), tonumber(arg()), tonumber(arg())}
arg()
list(upserts, 2 * counts[1])
list(bodies, 2 * counts[2])
list(removals, counts[3])
list(entries, 2 * counts[4])

local checkpoint = p .. ':checkpoint:' .. key
if key ~= '' then
  local answer = refused(key, follows, after, term, token)
  if answer then return answer end
end

local owed = {}
for i = 1, #entries, 2 do
  local ids = redis.call('SMEMBERS', p .. ':entry:' .. entries[i])
  if #ids == 0 then return {'NOBODY', entries[i]} end
  for _, id in ipairs(ids) do
    local found = redis.call('HMGET', p .. ':subscription:' .. id, 'pending', 'name')
    if tonumber(found[1]) >= full then return {'FULL', found[2], found[1]} end
  end
  owed[entries[i]] = ids
end

local function apply(command, at_key, values)
  for i = 1, #values, 1000 do
    redis.call(command, at_key, unpack(values, i, math.min(i + 999, #values)))
  end
end
-- The checkpoint is written last. If Redis stops the script half way, because an ACL was changed for example, the batch
-- is committed again: its events may come twice, but none is lost.
if events > 0 then
  for i = 1, #entries, 2 do
    for _, id in ipairs(owed[entries[i]]) do
      redis.call('HINCRBY', p .. ':subscription:' .. id, 'pending', entries[i + 1])
    end
  end
  local seq = redis.call('HINCRBY', p .. ':meta', 'seq', events) - events
  local touched, partitions = {}, {}
  for i = 1, events do
    local partition, lane, id, entry, body = arg(), arg(), arg(), arg(), arg()
    local ids = owed[entry]
    local eid = redis.call('XADD', stream(partition), '*', 'seq', seq + i, 'key', lane, 'id', id, 'entry', entry,
      'for', ',' .. table.concat(ids, ',') .. ',', 'body', body)
    if #ids > 1 then redis.call('HSET', p .. ':owed', partition .. '/' .. eid, #ids) end
    if not touched[partition] then
      touched[partition] = true
      partitions[#partitions + 1] = partition
    end
  end
  notify(table.concat(partitions, ' '))
end
if key ~= '' then
  redis.call('SADD', p .. ':checkpoints', key)
  apply('HSET', p .. ':inventory:' .. key, upserts)
  if redis.call('EXISTS', p .. ':objects:' .. key) == 1 then
    for i = 1, #upserts, 2 do redis.call('HDEL', p .. ':objects:' .. key, upserts[i]) end
  end
  apply('HSET', p .. ':objects:' .. key, bodies)
  apply('HDEL', p .. ':inventory:' .. key, removals)
  apply('HDEL', p .. ':objects:' .. key, removals)
  if gap ~= '' then redis.call('RPUSH', p .. ':gaps:' .. key, gap) end
  redis.call('HSET', checkpoint, 'number', follows + 1, 'term', ARGV[4], 'token', token, 'state', state)
end
return {'OK'}
