-- Arguments: keys of checkpoints. Returns the newest term of these and of the bus, in a list. From now on it
-- is that of the bus.
also_when_full()
local newest = newest_term(ARGV)
fence(newest)
return {newest}
