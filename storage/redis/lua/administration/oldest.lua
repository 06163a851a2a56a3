-- Arguments: budget, then of each look: an entry, some of its partitions ('0 5'), the number of the subscriptions to look for,
-- and these. Finds out when the first event that a subscription has pending in a partition was committed. Returns the time, the
-- number of partitions that it has done, and for each subscription in each of these, in turn, the time of its event: 0 if there
-- is none, -1 if it is not among the first few. An event comes with its body; the budget is of bytes; a command counts as a
-- thousand, a group or an event in its answer as two.
local left, result, at = tonumber(ARGV[1]), {now(), 0}, 2
local function spend(bytes) left = left - 1000 - bytes end

-- The first event from there on: its id, time of commit and who it is for. Many subscriptions look at the same one.
local function first(key, seen, from)
  if seen[from] == nil then
    local pair = redis.call('XRANGE', key, from, '+', 'COUNT', 1)[1]
    local of, receivers = pair and fields(pair[2]), {}
    spend(of and 2000 + #(of.body or '') or 0)
    for id in string.gmatch(of and of['for'] or '', '%d+') do receivers[id] = true end
    seen[from] = pair and {pair[1], committed(pair[1], of), receivers} or false
  end
  return seen[from]
end

-- Whether a group has read all of its stream and settled it. Before Redis 7, and at times since, the lag is not known.
local function is_idle(info)
  return info[5] == 'pending' and info[6] == 0 and info[11] == 'lag' and info[12] == 0
end

local function oldest(key, seen, id, of)
  local from = '(' .. of['last-delivered-id']
  if of.pending > 0 then
    from = redis.call('XPENDING', key, of.name)[2]
    spend(0)
  end
  for _ = 1, 20 do
    local found = first(key, seen, from)
    if not found then return 0 end
    if found[3][id] then return found[2] end
    from = '(' .. found[1]
  end
  return -1
end

local function look(key, ids)
  local groups, seen, places = redis.pcall('XINFO', 'GROUPS', key), {}, {} -- an error: somebody has deleted it
  spend(0)
  for _, id in ipairs(ids) do
    result[#result + 1] = 0
    places[id] = #result
  end
  for _, info in ipairs(groups.err and {} or groups) do
    left = left - 2000
    local place = not is_idle(info) and places[string.match(info[2], '^%d+')]
    if place then result[place] = oldest(key, seen, string.match(info[2], '^%d+'), fields(info)) end
  end
  result[2] = result[2] + 1
end

while ARGV[at] and left > 0 do
  local entry, partitions, count = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  local ids = {unpack(ARGV, at + 3, at + 2 + count)}
  for partition in string.gmatch(partitions, '%d+') do
    if left > 0 then look(stream(stream_name(entry, partition)), ids) end
  end
  at = at + 3 + count
end
return result
