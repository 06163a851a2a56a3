-- partitions, count: settle what is left of one subscription that ended. Returns 1 if there may be more.
also_when_full()
local id = redis.call('SRANDMEMBER', p .. ':ended')
if not id then return 0 end
local grp = group(id)
for part = 0, tonumber(ARGV[1]) - 1 do
  for _, cursor in ipairs({'0', '>'}) do
    local found = redis.pcall('XREADGROUP', 'GROUP', grp, 'kubecdc', 'COUNT', ARGV[2], 'STREAMS', stream(part), cursor)
    if type(found) == 'table' and not found.err and #found[1][2] > 0 then
      for _, pair in ipairs(found[1][2]) do
        local entry = fields(pair[2] or {})
        if entry['for'] and string.find(entry['for'], ',' .. id .. ',', 1, true) then
          finish(id, grp, part, pair[1], #entry.body, committed(pair[1], entry), entry.again)
        else
          redis.call('XACK', stream(part), grp, pair[1])
        end
      end
      return 1
    end
  end
end
for part = 0, tonumber(ARGV[1]) - 1 do redis.pcall('XGROUP', 'DESTROY', stream(part), grp) end
redis.call('DEL', p .. ':subscription:' .. id, p .. ':tries:' .. id, p .. ':holds:' .. id)
redis.call('SREM', p .. ':ended', id)
return 1
