-- Arguments: id, token, count, bytes, then stream and cursor of each. Reads the next entries of the worker's partitions.
-- Cursor '>' means entries that no worker has read; any other, entries after it that were read and are not settled.
-- Returns the time, and for each stream: its name, whether there may be more, whether it is ours, entries, last id. Then the
-- streams whose group or which themselves were missing, and the number of events that are gone.
local id, token, count, left = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local grp, result, time = group(id), {}, now()
local me, failed, missing, gone, again = ',' .. id .. ',', nil, {}, 0, {}
for _, name in ipairs(redis.call('SMEMBERS', p .. ':again:' .. id)) do again[name] = true end

for i = 5, #ARGV, 2 do
  if left <= 0 then break end
  local name, cursor, key = ARGV[i], ARGV[i + 1], stream(ARGV[i])
  if redis.call('HGET', p .. ':leases:' .. id, partition_of(name)) ~= token then
    result[#result + 1] = {name, 0, 0, {}, cursor}
  else
    local found, size, more = some(count, left, function(n, last)
      local from = cursor == '>' and cursor or last or cursor
      local read = redis.pcall('XREADGROUP', 'GROUP', grp, 'kubecdc', 'COUNT', n, 'STREAMS', key, from)
      if read and read.err and reads(id, name) then -- else the worker hears of it with its next heartbeat
        if string.find(read.err, 'NOGROUP') and make_again(id, name) then
          missing[#missing + 1] = name
        else
          failed = read
        end
      end
      return read and not read.err and read[1][2] or {}
    end)
    if failed then return failed end
    more = more or missing[#missing] == name
    left = left - size
    local entries, last, groups = {}, cursor, again[name] and #found > 0 and groups_of(name)
    for _, pair in ipairs(found) do
      local eid, entry = pair[1], pair[2] and fields(pair[2])
      local field = name .. '/' .. eid
      last = eid
      local is_ours = entry and entry.body and string.find(entry['for'], me, 1, true)
        and not (again[name] and redis.call('ZSCORE', p .. ':settled', field .. '/' .. #entry.body))
      if is_ours and again[name] then owe_again(id, name, eid, entry, groups) end
      if not entry or not entry.body then -- deleted by an operator
        gone = gone + give_up(id, grp, name, eid)
      elseif not is_ours then
        redis.call('XACK', key, grp, eid)
      elseif again[name] and redis.call('HEXISTS', ahead(id, name), eid) == 1 then
        finish(id, grp, {{name, eid, #entry.body, committed(eid, entry), entry.again}})
      else
        local tries, failures, hold = '', '', ''
        if cursor ~= '>' or again[name] then
          tries = redis.call('HGET', p .. ':tries:' .. id, field) or ''
          failures = redis.call('HGET', p .. ':failures:' .. id, field) or ''
          hold = redis.call('HGET', p .. ':holds:' .. id, field) or ''
        end
        entries[#entries + 1] = {eid, entry.key, entry.again or '0', committed(eid, entry), entry.body, tries, failures,
          hold}
      end
    end
    if again[name] and cursor == '>' and not more then
      redis.call('SREM', p .. ':again:' .. id, name)
      redis.call('DEL', ahead(id, name))
    end
    result[#result + 1] = {name, more and 1 or 0, 1, entries, last}
  end
end
return {time, result, missing, gone}
