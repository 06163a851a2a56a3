-- Tries every command that a bus on streams sends. Returns the first forbidden command and its error.
local key = p .. ':nothing'
return first_forbidden({
  {key = key, {'DEL', key}, {'UNLINK', key}, {'TIME'}},
  {key = key, {'SET', key, 1, 'PX', 1000}, {'GET', key}, {'PEXPIRE', key, 1000}, {'EXISTS', key}},
  {key = key, {'HSET', key, 'a', 1}, {'HINCRBY', key, 'a', 1}, {'HGET', key, 'a'}, {'HMGET', key, 'a'}, {'HGETALL', key},
    {'HSCAN', key, 0}, {'HEXISTS', key, 'a'}, {'HSETNX', key, 'a', 1}, {'HDEL', key, 'a'}},
  {key = key, {'SADD', key, 'a'}, {'SMEMBERS', key}, {'SRANDMEMBER', key}, {'SREM', key, 'a'}},
  {key = key, {'RPUSH', key, 'a'}, {'LRANGE', key, 0, -1}, {'LTRIM', key, 0, 1}},
  {key = key, {'ZADD', key, 1, 'a'}, {'ZCARD', key}, {'ZSCORE', key, 'a'}, {'ZRANGE', key, 0, -1},
    {'ZRANGEBYSCORE', key, '-inf', '+inf'}, {'ZREM', key, 'a'}},
  {key = key, {'XADD', key, '1-1', 'a', 1}, {'XRANGE', key, '-', '+'}, {'XREVRANGE', key, '+', '-'},
    {'XREAD', 'STREAMS', key, '0'}, {'XGROUP', 'CREATE', key, 'g', '0'}, {'XINFO', 'GROUPS', key},
    {'XREADGROUP', 'GROUP', 'g', 'c', 'STREAMS', key, '>'}, {'XPENDING', key, 'g'},
    {'XAUTOCLAIM', key, 'g', 'c', 0, '0'}, {'XACK', key, 'g', '1-1'}, {'XDEL', key, '1-1'}, {'XGROUP', 'DESTROY', key, 'g'}},
})
