-- Arguments: partitions, budget, partition, then entries, each with the number of its subscriptions that have events pending,
-- and those. Finds out when the oldest of these events were committed, from that partition of the first entry on. Returns the
-- number of entries that it has done, the partition of the next one to go on with, and of subscriptions the oldest time found,
-- in turn. An event comes with its body; the budget is of bytes, and a command counts as a thousand.
local partitions, left, partition = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local done, oldest, result = 0, {}, {}
local at = 4
local function spend(bytes) left = left - 1000 - bytes end
while ARGV[at] and left > 0 do
  local entry, count, wanted = ARGV[at], tonumber(ARGV[at + 1]), {}
  for i = at + 2, at + 1 + count do wanted[ARGV[i]] = true end
  while partition < partitions and left > 0 do
    local key, seen = stream(stream_name(entry, partition)), {}
    -- The first event from there on: its id, time of commit and `for`. Many subscriptions look at the same one.
    local function first(from)
      if seen[from] == nil then
        local pair = redis.call('XRANGE', key, from, '+', 'COUNT', 1)[1]
        local of = pair and fields(pair[2])
        spend(of and #(of.body or '') or 0)
        seen[from] = pair and {pair[1], committed(pair[1], of), of['for'] or ''} or false
      end
      return seen[from]
    end
    local groups = redis.pcall('XINFO', 'GROUPS', key)
    for _, info in ipairs(groups.err and {} or groups) do
      local of = fields(info)
      local id = string.match(of.name, '^%d+')
      if wanted[id] then
        local from = '(' .. of['last-delivered-id']
        if of.pending > 0 then from = redis.call('XPENDING', key, of.name)[2] end
        spend(0)
        for _ = 1, 20 do
          local found = first(from)
          if not found then break end
          if string.find(found[3], ',' .. id .. ',', 1, true) then
            if not oldest[id] or found[2] < oldest[id] then oldest[id] = found[2] end
            break
          end
          from = '(' .. found[1]
        end
      end
    end
    spend(0)
    partition = partition + 1
  end
  if partition == partitions then done, partition, at = done + 1, 0, at + 2 + count end
end
for id, time in pairs(oldest) do
  result[#result + 1] = id
  result[#result + 1] = time
end
return {done, partition, result}
