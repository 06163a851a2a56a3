-- Tries every command that a bus sends, on a key without other use. What an ACL forbids must be found at the start,
-- because a script that is stopped half way leaves what it has written. Returns the first forbidden command and its
-- error.
local key, forbidden, other = p .. ':nothing', false, nil
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
local function each(...)
  for _, command in ipairs({...}) do try(command) end
  try({'DEL', key})
end
each({'DEL', key}, {'UNLINK', key}, {'TIME'})
each({'SET', key, 1, 'PX', 1000}, {'GET', key}, {'PEXPIRE', key, 1000}, {'EXISTS', key})
each({'HSET', key, 'a', 1}, {'HINCRBY', key, 'a', 1}, {'HGET', key, 'a'}, {'HMGET', key, 'a'}, {'HGETALL', key},
  {'HSCAN', key, 0}, {'HEXISTS', key, 'a'}, {'HSETNX', key, 'a', 1}, {'HDEL', key, 'a'})
each({'SADD', key, 'a'}, {'SMEMBERS', key}, {'SRANDMEMBER', key}, {'SREM', key, 'a'})
each({'RPUSH', key, 'a'}, {'LRANGE', key, 0, -1})
each({'ZADD', key, 1, 'a'}, {'ZCARD', key}, {'ZSCORE', key, 'a'}, {'ZRANGE', key, 0, -1},
  {'ZRANGEBYSCORE', key, '-inf', '+inf'}, {'ZREM', key, 'a'})
each({'XADD', key, '1-1', 'a', 1}, {'XRANGE', key, '-', '+'}, {'XREVRANGE', key, '+', '-'},
  {'XREAD', 'STREAMS', key, '0'}, {'XGROUP', 'CREATE', key, 'g', '0'}, {'XINFO', 'GROUPS', key},
  {'XREADGROUP', 'GROUP', 'g', 'c', 'STREAMS', key, '>'}, {'XPENDING', key, 'g'},
  {'XAUTOCLAIM', key, 'g', 'c', 0, '0'}, {'XACK', key, 'g', '1-1'}, {'XDEL', key, '1-1'}, {'XGROUP', 'DESTROY', key, 'g'})
return other or forbidden
