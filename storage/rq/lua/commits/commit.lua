-- Makes a checkpoint step, or publishes events, or both, all or nothing: all checks come before the first write. After the
-- arguments of the step: maxPending, time as text, prefix of lanes, number of entries, of events and of the fields that all
-- jobs have; entries; those fields; events.
local step, at = read_step()
local function arg()
  at = at + 1
  return ARGV[at - 1]
end
local answer = refused_step(step)
if answer then return answer end

local full, iso, lanes = tonumber(arg()), arg(), arg()
local counts = {tonumber(arg()), tonumber(arg()), tonumber(arg())}
local owed, common = {}, {}
for _ = 1, counts[1] do
  local entry, subs = arg(), {}
  for _, id in ipairs(redis.call('SMEMBERS', subscribers(entry))) do
    local sub = known(id)
    if sub then
      local pending = redis.call('ZCARD', sub.owed)
      if pending >= full then return {'FULL', sub.name, tostring(pending)} end
      subs[#subs + 1] = sub
    end
  end
  if #subs == 0 then return {'NOBODY', entry} end
  owed[entry] = subs
end
for i = 1, counts[3] do common[i] = arg() end

if counts[2] > 0 then
  local told, wanting = {}, {}
  for _, subs in pairs(owed) do
    for _, sub in ipairs(subs) do
      if not told[sub.id] then
        told[sub.id] = true
        wanting[#wanting + 1] = sub.id
      end
    end
  end
  local seq, time, committed = redis.call('HINCRBY', p .. ':meta', 'seq', counts[2]) - counts[2], stamp(), now()
  for i = 1, counts[2] do
    local entry, lane, description, meta, event = arg(), arg(), arg(), arg(), arg()
    for _, sub in ipairs(owed[entry]) do
      local job, key = new_id(seq + i, sub), lanes .. sub.hash .. '/' .. lane
      redis.call('HSET', hash_of(job), unpack(common))
      redis.call('HSET', hash_of(job), 'origin', sub.queue, 'rate_limit_key', key, 'description', description, 'meta', meta,
        'created_at', iso,
        'data', '["kubecdc.rq.handle", null, [' .. cjson.encode(sub.name) .. ', ' .. event .. '], {}]',
        'committed', committed)
      enqueue(sub, job, key, committed, time, iso)
    end
  end
  notify(table.concat(wanting, ' '))
end
make_step(step)
return {'OK'}
