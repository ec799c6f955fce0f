-- One record, compared and set: stored and moved to its place if its revision is still `expected`, as one step.
-- KEYS[1]: the record (hash). ARGV: id, expected revision (0: there is none), gone ("1": erase it), place, in front ("1"),
-- the list of the worker that popped it ("": none did), state, created, not before, lease until, callback due (0: none),
-- then the record's other fields, name and value in turn. Returns 1: done; 0: another revision is stored; -1: this id was
-- erased after that worker popped it, and is off the worker's list.
local record = KEYS[1]
local id, expected, gone, place, in_front, popped, state = unpack(ARGV, 1, 7)
local created, not_before, lease_until, due = unpack(ARGV, 8, 11)
local kind = redis.call('TYPE', record).ok
if kind ~= 'hash' and kind ~= 'none' then -- a stranger's, under our name: what was there before is not known any more
    redis.call('DEL', record)
    redis.call('LREM', 'toWorker', 0, id)
    redis.call('ZREM', 'msaas:delayed', id)
    redis.call('ZREM', 'msaas:leases', id)
    for _, any in ipairs({'queued', 'running', 'succeeded', 'failed', 'canceled'}) do
        redis.call('ZREM', 'msaas:state:' .. any, id)
    end
end
local old = redis.call('HMGET', record, 'revision', 'place', 'state')
if (old[1] or '0') ~= expected then
    return 0
end
local erased = 'msaas:erased:' .. id
if expected == '0' and redis.call('DEL', erased) == 1 and popped ~= '' then
    redis.call('LREM', popped, 0, id)
    return -1
end

-- out of its old place
local stays = old[2] == 'waiting' and place == 'waiting' and in_front ~= '1' and gone ~= '1'
local found = popped ~= '' and redis.call('LREM', popped, 0, id) or 0
if old[2] == 'waiting' and not stays and found == 0 then
    found = redis.call('LREM', 'toWorker', 0, id)
    if gone == '1' and found == 0 then -- a worker just popped it: its id must not pass for a stranger's new one
        redis.call('SET', erased, 1, 'EX', 3600)
    end
end
if old[2] == 'delayed' then
    redis.call('ZREM', 'msaas:delayed', id)
elseif old[2] == 'leased' then
    redis.call('ZREM', 'msaas:leases', id)
end
if old[3] and (old[3] ~= state or gone == '1') then
    redis.call('ZREM', 'msaas:state:' .. old[3], id)
end
if gone == '1' then
    redis.call('DEL', record)
    redis.call('ZREM', 'msaas:jobs', id)
    redis.call('ZREM', 'msaas:outbox', id)
    return 1
end

-- into its new one
redis.call('HSET', record, 'revision', expected + 1, 'place', place, 'state', state, 'lease_until', lease_until,
    'due', due, unpack(ARGV, 12))
redis.call('ZADD', 'msaas:jobs', created, id)
redis.call('ZADD', 'msaas:state:' .. state, created, id)
if due == '0' then
    redis.call('ZREM', 'msaas:outbox', id)
else
    redis.call('ZADD', 'msaas:outbox', due, id)
end
if place == 'waiting' and not stays then
    redis.call(in_front == '1' and 'RPUSH' or 'LPUSH', 'toWorker', id)
elseif place == 'delayed' then
    redis.call('ZADD', 'msaas:delayed', not_before, id)
elseif place == 'leased' then
    redis.call('ZADD', 'msaas:leases', lease_until, id)
end
return 1
