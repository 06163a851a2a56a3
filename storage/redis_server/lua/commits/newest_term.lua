-- The newest term that has acquired a checkpoint.
return newest_term(redis.call('SMEMBERS', p .. ':checkpoints'))
