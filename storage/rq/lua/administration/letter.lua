-- Arguments: queue, id. Returns a dead letter as letters.lua does, and the data of its job; nothing if there is none.
if not redis.call('ZSCORE', failed(ARGV[1]), ARGV[2]) then return false end
return {redis.call('HMGET', hash_of(ARGV[2]), 'meta', 'reason', 'exc_info', 'attempts', 'committed', 'ended', 'ended_at'),
  superseded({ARGV[2]})[1], redis.call('HMGET', hash_of(ARGV[2]), 'data', 'redelivery')}
