-- Tries every command that a bus on RQ sends, on its own keys and on RQ's. Returns the first forbidden command and its error.
local groups = {}
for _, key in ipairs({p .. ':nothing', rq .. ':queue:kubecdc.nothing'}) do
  for _, group in ipairs({
    {{'DEL', key}, {'UNLINK', key}, {'TIME'}},
    {{'SET', key, 1, 'PX', 1000}, {'GET', key}, {'PEXPIRE', key, 1000}, {'EXISTS', key}, {'RENAME', key, key}},
    {{'HSET', key, 'a', 1}, {'HINCRBY', key, 'a', 1}, {'HGET', key, 'a'}, {'HMGET', key, 'a'}, {'HGETALL', key},
      {'HSCAN', key, 0}, {'HEXISTS', key, 'a'}, {'HSETNX', key, 'a', 1}, {'HDEL', key, 'a'}},
    {{'SADD', key, 'a'}, {'SMEMBERS', key}, {'SRANDMEMBER', key}, {'SSCAN', key, 0}, {'SREM', key, 'a'}},
    {{'RPUSH', key, 'a'}, {'LPUSH', key, 'a'}, {'LRANGE', key, 0, -1}, {'LREM', key, 1, 'b'}, {'LLEN', key}, {'LTRIM', key, 0, 1}, {'LPOP', key}},
    {{'ZADD', key, 1, 'a'}, {'ZCARD', key}, {'ZSCORE', key, 'a'}, {'ZRANGE', key, 0, -1}, {'ZREVRANGE', key, 0, -1},
      {'ZRANGEBYSCORE', key, '-inf', '+inf'}, {'ZRANGEBYLEX', key, '-', '+'}, {'ZCOUNT', key, '-inf', '+inf'},
      {'ZSCAN', key, 0}, {'ZREM', key, 'b'}, {'ZPOPMIN', key}},
    {{'XADD', key, '1-1', 'a', 1}, {'XREVRANGE', key, '+', '-'}, {'XREAD', 'STREAMS', key, '0'}},
  }) do
    group.key = key
    groups[#groups + 1] = group
  end
end
return first_forbidden(groups)
