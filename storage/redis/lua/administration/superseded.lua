-- Argument: id of a dead letter. Returns whether it is superseded; '' if that is not known, or there is no such dead letter.
local found = redis.call('XRANGE', p .. ':letters', ARGV[1], ARGV[1])[1]
return found and superseded(fields(found[2])) or ''
