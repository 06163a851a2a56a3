-- Arguments: keys. Returns number, term and state of each checkpoint; the term is missing if there is none.
local result = {}
for i, key in ipairs(ARGV) do
  result[i] = redis.call('HMGET', p .. ':checkpoint:' .. key, 'number', 'term', 'state')
end
return result
