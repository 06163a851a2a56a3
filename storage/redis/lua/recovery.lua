-- Follows the prelude: what a subscription is owed whose record somebody has deleted.

-- Goes through the streams of all entries, in steps of bounded size, and counts what the groups of the subscription have not
-- settled. Until its record is there again, nothing is committed for it, read or settled, so nothing changes meanwhile. Returns
-- the fields that its record had; nothing if there is more to look at. Where the group is gone, too, nothing is counted: what
-- is there is found when the group is made again.
local function recovered(id, name, partitions)
  local key, grp, me = p .. ':recovery:' .. id, id .. ':' .. name, ',' .. id .. ','
  local of, wanted, left, bytes = fields(redis.call('HGETALL', key)), {}, 500, 1000000
  local number, partition, from = tonumber(of.number or 0), tonumber(of.partition or 0), of.from or ''
  local entries, pending = of.entries or '', tonumber(of.pending or 0)
  local last = tonumber(redis.call('HGET', p .. ':meta', 'entries') or 0)
  for _, entry in ipairs(redis.call('SMEMBERS', p .. ':wants:' .. id)) do
    wanted[redis.call('HGET', p .. ':entries', entry) or ''] = true
  end

  -- Counts what the group of a stream has not handed out. Returns whether that was all.
  local function count(place)
    local found, size, more = some(500, bytes, function(n, after)
      return redis.call('XRANGE', place, '(' .. (after or from), '+', 'COUNT', n)
    end)
    for _, pair in ipairs(found) do
      if string.find(fields(pair[2])['for'] or '', me, 1, true) then pending = pending + 1 end
    end
    bytes = bytes - size
    from = more and found[#found][1] or ''
    return not more
  end

  while number <= last and left > 0 and bytes > 0 do
    local place, done = stream(stream_name(tostring(number), partition)), true
    local unsettled = redis.pcall('XPENDING', place, grp)
    left = left - 1
    if (not unsettled.err or wanted[tostring(number)]) and not string.find(entries .. ' ', ' ' .. number .. ' ', 1, true) then
      entries = entries .. ' ' .. number
    end
    if not unsettled.err then
      if from == '' then
        pending = pending + unsettled[1]
        for _, info in ipairs(redis.call('XINFO', 'GROUPS', place)) do
          left = left - 1
          if info[2] == grp then from = fields(info)['last-delivered-id'] end
        end
      end
      done = count(place)
    end
    if done then partition = partition + 1 end
    if partition == partitions then number, partition = number + 1, 0 end
  end
  if number <= last then
    redis.call('HSET', key, 'number', number, 'partition', partition, 'from', from, 'entries', entries, 'pending', pending)
    return nil
  end
  redis.call('DEL', key)
  local mark = redis.call('HINCRBY', p .. ':meta', 'repairs', 1) -- see mark_remade
  return {'entries', string.sub(entries, 2), 'pending', pending, 'remade', mark, 'rewound', now()}
end
