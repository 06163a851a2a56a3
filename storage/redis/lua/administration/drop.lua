-- Arguments: partitions, count, bytes. Settles the backlog of one subscription that ended. Returns 1 if there may be
-- more.
also_when_full()
local id = redis.call('SRANDMEMBER', p .. ':ended')
if not id then return 0 end
local grp, names, again = group(id), {}, {}
for _, name in ipairs(redis.call('SMEMBERS', p .. ':again:' .. id)) do again[name] = true end
for _, entry in ipairs(entries_of(id)) do
  for partition = 0, tonumber(ARGV[1]) - 1 do names[#names + 1] = stream_name(entry, partition) end
end
for _, name in ipairs(names) do
  -- Consumers other than kubecdc may use other names.
  redis.pcall('XAUTOCLAIM', stream(name), grp, 'kubecdc', 0, '0-0', 'COUNT', ARGV[2], 'JUSTID')
  for _, cursor in ipairs({'0', '>'}) do
    local found = some(tonumber(ARGV[2]), tonumber(ARGV[3]), function(n, last)
      local from = cursor == '>' and cursor or last or cursor
      local read = redis.pcall('XREADGROUP', 'GROUP', grp, 'kubecdc', 'COUNT', n, 'STREAMS', stream(name), from)
      return type(read) == 'table' and not read.err and read[1][2] or {}
    end)
    if #found > 0 then
      local owed, groups = {}, again[name] and groups_of(name)
      for _, pair in ipairs(found) do
        local entry = fields(pair[2] or {})
        if entry['for'] and string.find(entry['for'], ',' .. id .. ',', 1, true) then
          if groups then owe_again(id, name, pair[1], entry, groups) end
          owed[#owed + 1] = {name, pair[1], #entry.body, committed(pair[1], entry), entry.again}
        else
          redis.call('XACK', stream(name), grp, pair[1])
        end
      end
      finish(id, grp, owed)
      return 1
    end
  end
end
for _, name in ipairs(names) do
  redis.pcall('XGROUP', 'DESTROY', stream(name), grp)
  redis.call('DEL', ahead(id, name))
end
redis.call('DEL', p .. ':subscription:' .. id, p .. ':tries:' .. id, p .. ':failures:' .. id, p .. ':holds:' .. id,
  p .. ':again:' .. id)
redis.call('SREM', p .. ':ended', id)
return 1
