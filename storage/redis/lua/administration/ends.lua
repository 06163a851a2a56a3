-- Argument: a stream. Returns of each of its groups, in turn, the name and the last entry that it has handed out.
local groups, result = redis.pcall('XINFO', 'GROUPS', stream(ARGV[1])), {} -- an error: there is no stream
for _, info in ipairs(groups.err and {} or groups) do
  result[#result + 1] = info[2]
  result[#result + 1] = fields(info)['last-delivered-id']
end
return result
