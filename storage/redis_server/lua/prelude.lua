-- Precedes every script of a bus in a Redis. KEYS[1] is the prefix of all keys of the bus, a hash tag: they are in one
-- slot of a cluster.
local p = KEYS[1]

local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- If memory is full, Redis refuses a script whose first write may need memory; a script that has already written goes
-- on. Scripts that settle, renew and release must work even then, or the backlog of a full bus could not be reduced.
local function also_when_full()
  redis.call('DEL', p .. ':nothing')
end

-- Makes the listeners of subscriptions read, whose numbers are given as in '3 7', or all if none are given; of these
-- partitions, '1 5 7', or of all. Notifications are numbered, so that a listener finds out if it has missed some.
local function notify(subscriptions, partitions)
  local number = redis.call('HINCRBY', p .. ':meta', 'rings', 1)
  local kept = number % 100 == 0 and 100 or 200 -- to drop one is to look at all that were dropped before
  redis.call('XADD', p .. ':bell', 'MAXLEN', kept, '*', 'number', number, 'for', subscriptions or '', 'partitions',
    partitions or '')
end

local function fields(list)
  local found = {}
  for i = 1, #list, 2 do found[list[i]] = list[i + 1] end
  return found
end

local function max(a, b)
  if a > b then return a end
  return b
end

-- Counts dead letters of a lane. The hash `passed` has for each lane with dead letters:
-- '<their number> <place of the latest event that was delivered since>'.
local function count_letters(passed, lane, count)
  local known, place = string.match(redis.call('HGET', passed, lane) or '0 ', '^(%d+) (.*)$')
  if known + count <= 0 then
    redis.call('HDEL', passed, lane)
  else
    redis.call('HSET', passed, lane, known + count .. ' ' .. place)
  end
end

-- An event of the lane was delivered: its dead letters of earlier places are superseded.
local function pass(passed, lane, place)
  local count, before = string.match(redis.call('HGET', passed, lane) or '', '^(%d+) (.*)$')
  if count and place > before then redis.call('HSET', passed, lane, count .. ' ' .. place) end
end

-- Remembers that a subscription was pruned, so that a process that still has it does not register it again in a Redis that
-- lost some. The newest thousand are remembered.
local function remember_pruned(name)
  redis.call('HSET', p .. ':pruned', name, now())
  local found = redis.call('HGETALL', p .. ':pruned')
  if #found <= 2000 then return end
  local oldest = 1
  for i = 3, #found, 2 do
    if tonumber(found[i + 1]) < tonumber(found[oldest + 1]) then oldest = i end
  end
  redis.call('HDEL', p .. ':pruned', found[oldest])
end

-- The newest term of the bus.
local function epoch()
  return tonumber(redis.call('HGET', p .. ':meta', 'epoch') or 0)
end

-- The term that fences all older ones. Of these checkpoints too, because programs of an earlier version leave it only there.
local function newest_term(keys)
  local newest = epoch()
  for _, key in ipairs(keys) do
    newest = max(newest, tonumber(redis.call('HGET', p .. ':checkpoint:' .. key, 'term') or 0))
  end
  return newest
end

-- Fences all terms older than this one.
local function fence(term)
  if epoch() < term then redis.call('HSET', p .. ':meta', 'epoch', term) end
end

-- The answer to a step of a checkpoint that is not the next one, given the newest term of the bus; nil if it is the next one.
local function refused(key, follows, after, term, token, newest)
  local found = redis.call('HMGET', p .. ':checkpoint:' .. key, 'number', 'token', 'term')
  newest = max(newest, tonumber(found[3] or 0)) -- as in newest_term
  if newest > term then return {'LOST', newest} end
  local number = tonumber(found[1] or 0)
  if number == follows + 1 and found[2] == token then return {'DONE'} end
  if number ~= follows or (after ~= '' and found[2] ~= after) then return {'MISMATCH', number} end
end

-- Reads the arguments of a checkpoint step, as checkpoints.step lays them out. Returns the step, with the places where its
-- upserts, bodies and removals begin, and the place of the arguments after it.
local function read_step()
  local upserts = 11
  local bodies = upserts + 2 * tonumber(ARGV[8])
  local removals = bodies + 2 * tonumber(ARGV[9])
  local past = removals + tonumber(ARGV[10])
  return {key = ARGV[1], follows = tonumber(ARGV[2]), after = ARGV[3], term = ARGV[4], token = ARGV[5], state = ARGV[6],
    gap = ARGV[7], upserts = upserts, bodies = bodies, removals = removals, past = past}, past
end

-- The answer to a step that is not the next one; nil if it is the next one, or no step at all.
local function refused_step(step)
  if step.key == '' then return end
  step.epoch = epoch()
  return refused(step.key, step.follows, step.after, tonumber(step.term), step.token, step.epoch)
end

-- Makes a step. It is the last thing that a script writes. If Redis stops the script half way, because an ACL was changed
-- for example, the batch is committed again: its events may come twice, but none is lost.
local function make_step(step)
  local key = step.key
  if key == '' then return end
  local function apply(command, at_key, first, past)
    for i = first, past - 1, 1000 do
      redis.call(command, at_key, unpack(ARGV, i, math.min(i + 999, past - 1)))
    end
  end
  local inventory, objects = p .. ':inventory:' .. key, p .. ':objects:' .. key
  redis.call('SADD', p .. ':checkpoints', key)
  apply('HSET', inventory, step.upserts, step.bodies)
  if redis.call('EXISTS', objects) == 1 then
    for i = step.upserts, step.bodies - 1, 2 do redis.call('HDEL', objects, ARGV[i]) end
  end
  apply('HSET', objects, step.bodies, step.removals)
  apply('HDEL', inventory, step.removals, step.past)
  apply('HDEL', objects, step.removals, step.past)
  if step.gap ~= '' then
    redis.call('RPUSH', p .. ':gaps:' .. key, step.gap)
    redis.call('LTRIM', p .. ':gaps:' .. key, -100, -1)
  end
  if step.epoch < tonumber(step.term) then fence(tonumber(step.term)) end
  redis.call('HSET', p .. ':checkpoint:' .. key, 'number', step.follows + 1, 'term', step.term, 'token', step.token,
    'state', step.state)
end

-- Tries commands, a group after another, each with a key that has no other use and is deleted after the group. What an ACL
-- forbids must be found at the start, because a script that is stopped half way leaves what it has written. Returns the
-- first forbidden command and its error; false if there is none.
local function first_forbidden(groups)
  local forbidden, other = false, nil
  local function try(command)
    local answer = redis.pcall(unpack(command))
    if type(answer) ~= 'table' or not answer.err or forbidden or other then return end
    if string.find(answer.err, 'NOPERM') or string.find(answer.err, "can't run this command")
      or string.find(answer.err, 'ACL failure') then
      forbidden = {command[1], answer.err}
    else
      other = answer
    end
  end
  for _, group in ipairs(groups) do
    for _, command in ipairs(group) do try(command) end
    try({'DEL', group.key})
  end
  return other or forbidden
end
