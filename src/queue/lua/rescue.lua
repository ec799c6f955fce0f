-- What workers popped and never claimed goes back in front, when they were not heard of for so long.
-- ARGV[1]: milliseconds of silence. Returns how many went back.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local back = 0
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', 'msaas:workers', '-inf', now - ARGV[1])) do
    local list = 'msaas:worker:' .. worker
    for _, id in ipairs(redis.call('LRANGE', list, 0, -1)) do
        local state = redis.pcall('HGET', 'msaas:job:' .. id, 'state') -- a table where that is no hash
        local erased = not state and redis.call('DEL', 'msaas:erased:' .. id) == 1
        if state == 'queued' or (not state and not erased) then
            redis.call('RPUSH', 'toWorker', id)
            back = back + 1
        end
    end
    redis.call('DEL', list)
    redis.call('ZREM', 'msaas:workers', worker)
end
return back
