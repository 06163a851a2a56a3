-- Makes a checkpoint step without events.
local step = read_step()
local answer = refused_step(step)
if answer then return answer end
make_step(step)
return {'OK'}
