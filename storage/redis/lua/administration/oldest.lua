-- Arguments: partitions, budget, partition, then entries, each with the number of its subscriptions that have events pending,
-- and those. Finds out when the oldest of these events were committed, from that partition of the first entry on. Returns the
-- number of entries that it has done, the partition of the next one to go on with, and of subscriptions the oldest time found,
-- in turn. An event comes with its body; the budget is of bytes; a command counts as a thousand, a group as some hundred.
local partitions, left, partition = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local done, oldest, result = 0, {}, {}
local at = 4
local function spend(bytes) left = left - 1000 - bytes end

-- The first event from there on: its id, time of commit and who it is for. Many subscriptions look at the same one.
local function first(key, seen, from)
  if seen[from] == nil then
    local pair = redis.call('XRANGE', key, from, '+', 'COUNT', 1)[1]
    local of, receivers = pair and fields(pair[2]), {}
    spend(of and #(of.body or '') or 0)
    for id in string.gmatch(of and of['for'] or '', '%d+') do receivers[id] = true end
    seen[from] = pair and {pair[1], committed(pair[1], of), receivers} or false
  end
  return seen[from]
end

-- Whether a group has read all of its stream and settled it. Before Redis 7, and at times since, the lag is not known.
local function is_idle(info)
  return info[5] == 'pending' and info[6] == 0 and info[11] == 'lag' and info[12] == 0
end

while ARGV[at] and left > 0 do
  local entry, count, wanted = ARGV[at], tonumber(ARGV[at + 1]), {}
  for i = at + 2, at + 1 + count do wanted[ARGV[i]] = true end
  while partition < partitions and left > 0 do
    local key, seen = stream(stream_name(entry, partition)), {}
    local groups = redis.pcall('XINFO', 'GROUPS', key) -- an error: somebody has deleted it
    spend(0)
    for _, info in ipairs(groups.err and {} or groups) do
      left = left - 100
      if not is_idle(info) then
        left = left - 400
        local of = fields(info)
        local id = string.match(of.name, '^%d+')
        if wanted[id] then
          local from = '(' .. of['last-delivered-id']
          if of.pending > 0 then
            from = redis.call('XPENDING', key, of.name)[2]
            spend(0)
          end
          for _ = 1, 20 do
            local found = first(key, seen, from)
            if not found then break end
            if found[3][id] then
              if not oldest[id] or found[2] < oldest[id] then oldest[id] = found[2] end
              break
            end
            from = '(' .. found[1]
          end
        end
      end
    end
    partition = partition + 1
  end
  if partition == partitions then done, partition, at = done + 1, 0, at + 2 + count end
end
for id, time in pairs(oldest) do
  result[#result + 1] = id
  result[#result + 1] = time
end
return {done, partition, result}
