-- Arguments: id, token, count, bytes, then partition and cursor of each. Reads the next entries of the worker's
-- partitions. Cursor '>' means entries that no worker has read; any other, entries after it that were read and are not
-- settled. Returns the time, and for each partition: number, whether there may be more, whether it is ours, entries,
-- last id.
local id, token, count, left = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local grp, result, time = group(id), {}, now()
local me = ',' .. id .. ','
for i = 5, #ARGV, 2 do
  if left <= 0 then break end
  local partition, cursor, key = ARGV[i], ARGV[i + 1], stream(ARGV[i])
  if redis.call('HGET', p .. ':leases:' .. id, partition) ~= token then
    result[#result + 1] = {partition, 0, 0, {}}
  else
    local found, size, more = some(count, left, function(n, last)
      local from = cursor == '>' and cursor or last or cursor
      local read = redis.call('XREADGROUP', 'GROUP', grp, 'kubecdc', 'COUNT', n, 'STREAMS', key, from)
      return read and read[1][2] or {}
    end)
    left = left - size
    local entries, last = {}, cursor
    for _, pair in ipairs(found) do
      local eid, entry = pair[1], pair[2] and fields(pair[2])
      last = eid
      if not entry or not entry.body then -- deleted by an operator
        redis.call('XACK', key, grp, eid)
        redis.call('HINCRBY', p .. ':subscription:' .. id, 'pending', -1)
      elseif not string.find(entry['for'], me, 1, true) then
        redis.call('XACK', key, grp, eid)
      else
        local tries, hold = '', ''
        if cursor ~= '>' then
          tries = redis.call('HGET', p .. ':tries:' .. id, partition .. '/' .. eid) or ''
          hold = redis.call('HGET', p .. ':holds:' .. id, partition .. '/' .. eid) or ''
        end
        entries[#entries + 1] = {eid, entry.key, entry.again or '0', committed(eid, entry), entry.body, tries, hold}
      end
    end
    result[#result + 1] = {partition, more and 1 or 0, 1, entries, last}
  end
end
return {time, result}
