-- The queue's operations on Redis, each one atomic step. ARGV: the operation, then its arguments.
-- redis.c describes the keys.
local operation = table.remove(ARGV, 1)

-- A claim looks at so many items at most, so that nobody else waits long for a list full of junk or
-- of jobs for others.
local CLAIM_MAX = 100
-- And at so many that no model's list has.
local FAR_MAX = 1000
-- So much is told of an item that is no job.
local JUNK_BYTES = 320 -- 80 characters at their longest
-- A sweep looks at so many records at most, and at so many items of the list.
local SWEEP_MAX = 1000
local SWEEP_ITEMS_MAX = 100000
-- What costs time, and seldom finds anything, one does for all who ask within so long.
local LOOK_MS = 1000
local DAY_MS = 86400000

local function has_looked(key)
    return not redis.call('SET', key, '', 'NX', 'PX', LOOK_MS)
end

local function record_key(id)
    return 'msaas:job:' .. id
end

-- A set of ids by time, and the part of it that is one owner's. owner: '' where there is none.
local function put_into(set, owner, time, id)
    redis.call('ZADD', set, time, id)
    if owner ~= '' then
        redis.call('ZADD', set .. ':' .. owner, time, id)
    end
end

local function take_out_of(set, owner, id)
    redis.call('ZREM', set, id)
    if owner ~= '' then
        redis.call('ZREM', set .. ':' .. owner, id)
    end
end

local function is_id(text)
    return #text == 56 and not text:find('[^0-9a-f]')
end

local function now_ms()
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- What stands for a job on toWorker: its id, or the JSON that its record keeps.
local function item_of(id)
    local item = redis.pcall('HGET', record_key(id), 'item')
    return type(item) == 'string' and item or id
end

-- The id that an item stands for. nil: it is neither an id nor the JSON of a record.
local function id_of(item)
    if is_id(item) then
        return item
    end
    local id = item:match('^{"songhash":"(%x+)"')
    return id and redis.pcall('HGET', record_key(id), 'item') == item and id or nil
end

-- How many jobs are served before this one; -1: it does not wait, or `max` or more are.
local function position(id, max)
    local from_right = redis.pcall('LPOS', 'toWorker', item_of(id), 'RANK', -1, 'MAXLEN', max)
    return type(from_right) == 'number' and redis.call('LLEN', 'toWorker') - 1 - from_right or -1
end

-- The jobs that wait for a model are on a list of their own too, in the order of toWorker: a worker
-- finds its next one behind any number of others. msaas:models: when a worker last said that it has
-- a model.
local function list_of(model)
    return 'msaas:waiting:' .. model
end

local function put_on_list(id, model, in_front)
    local push = in_front and 'RPUSH' or 'LPUSH'
    redis.call(push, 'toWorker', item_of(id))
    if model ~= '' then
        redis.call(push, list_of(model), id)
        redis.call('HSETNX', 'msaas:models', model, 0)
    end
end

-- count: as in LREM. 0: wherever others put it, too; -1: where we did, found at once where it is
-- among the next. On the model's list it stands once.
local function take_off_list(id, model, count)
    redis.call('LREM', 'toWorker', count, item_of(id))
    redis.call('LREM', list_of(model), -1, id)
end

-- The record as C reads it (read_record in redis.c): id, time, position, then the hash's fields.
local function read(id, max)
    local fields = redis.pcall('HMGET', record_key(id), 'doc', 'revision', 'place', 'state',
        'created', 'started', 'attempts', 'token', 'lease_until', 'flags', 'due', 'owner')
    if fields.err then
        return fields
    end
    return {id, now_ms(), fields[3] == 'waiting' and position(id, max) or -1, unpack(fields, 1, 12)}
end

-- What an owner uses: jobs that are queued; cost and bytes of the day, which ends with the key.
local function usage_key(owner)
    return 'msaas:usage:' .. owner
end

local function usage(owner)
    local sums = redis.call('HMGET', usage_key(owner), 'cost', 'bytes')
    return {redis.call('ZCARD', 'msaas:state:queued:' .. owner), tonumber(sums[1] or 0),
            tonumber(sums[2] or 0), math.max(0, redis.call('PTTL', usage_key(owner)))}
end

-- As ms_quota_exceeded. Limits of 0 are none.
local function exceeds(used, cost, bytes, max_waiting, max_cost, max_bytes)
    return max_waiting > 0 and used[1] >= max_waiting
        or max_cost > 0 and used[2] + math.max(cost, 1) > max_cost
        or max_bytes > 0 and used[3] + bytes > max_bytes
end

local function charge(owner, used, cost, bytes)
    local key = usage_key(owner)
    local is_new = redis.call('EXISTS', key) == 0
    redis.call('HSET', key, 'cost', string.format('%.0f', math.max(0, used[2] + cost)),
        'bytes', string.format('%.0f', math.max(0, used[3] + bytes)))
    if is_new then
        redis.call('PEXPIRE', key, DAY_MS)
    end
end

local operations = {}

-- One record. max: see position().
function operations.load(id, max)
    return read(id, max)
end

-- Stores a record and moves it to its place, if its revision is still `expected` ('0': there is
-- none). erase: '1': the record goes. in_front: '1': it is served next. item: what stands for it on
-- the list, when it is put there; '': what did so before. stranger: an item that leaves the list
-- with the save; '': none. created: '0': now. charge: what is added to the owner's usage, then the
-- limits that this must keep: cost, bytes; jobs that wait, cost, bytes. ...: the hash's other
-- fields, name and value in turn.
-- Returns the position, the time of creation and the owner's usage, if anything is charged; nil:
-- another revision is stored; the usage alone: it is at a limit.
function operations.save(id, expected, erase, place, in_front, item, stranger, owner, model, state,
                         created, not_before, lease_until, due, max, cost, bytes, max_waiting,
                         max_cost, max_bytes, ...)
    local key = record_key(id)
    local kind = redis.call('TYPE', key).ok
    if kind ~= 'hash' and kind ~= 'none' then -- a stranger's value: its place is not known
        redis.call('DEL', key)
        redis.call('LREM', 'toWorker', 0, id)
        redis.call('ZREM', 'msaas:delayed', id)
        redis.call('ZREM', 'msaas:leases', id)
        for _, any in ipairs({'queued', 'running', 'succeeded', 'failed', 'canceled',
                             'expired'}) do
            take_out_of('msaas:state:' .. any, owner, id)
        end
    end
    local old = redis.call('HMGET', key, 'revision', 'place', 'state', 'model')
    if (old[1] or '0') ~= expected then
        return false
    end
    cost, bytes = tonumber(cost), tonumber(bytes)
    local charged = owner ~= '' and (cost ~= 0 or bytes ~= 0) and usage(owner) or nil
    if charged and exceeds(charged, cost, bytes, tonumber(max_waiting), tonumber(max_cost),
                           tonumber(max_bytes)) then
        return charged
    end

    -- out of its old place
    local stays = old[2] == 'waiting' and place == 'waiting' and in_front ~= '1' and erase ~= '1'
    if old[2] == 'waiting' and not stays then
        take_off_list(id, old[4] or '', erase == '1' and 0 or -1)
    elseif old[2] == 'delayed' then
        redis.call('ZREM', 'msaas:delayed', id)
    elseif old[2] == 'leased' then
        redis.call('ZREM', 'msaas:leases', id)
    end
    if old[3] and (old[3] ~= state or erase == '1') then
        take_out_of('msaas:state:' .. old[3], owner, id)
    end
    if erase == '1' then
        redis.call('DEL', key)
        take_out_of('msaas:jobs', owner, id)
        redis.call('ZREM', 'msaas:outbox', id)
        return {-1, 0}
    end

    -- into its new one
    created = created == '0' and now_ms() or tonumber(created)
    redis.call('HSET', key, 'revision', expected + 1, 'place', place, 'model', model,
        'state', state, 'created', created, 'lease_until', lease_until, 'due', due, ...)
    if owner ~= '' then
        redis.call('HSET', key, 'owner', owner)
    end
    put_into('msaas:jobs', owner, created, id)
    put_into('msaas:state:' .. state, owner, created, id)
    if due == '0' then
        redis.call('ZREM', 'msaas:outbox', id)
    else
        redis.call('ZADD', 'msaas:outbox', due, id)
    end
    if stranger ~= '' then
        redis.call('LREM', 'toWorker', -1, stranger)
    end
    if place == 'waiting' and not stays then
        if item ~= '' then
            redis.call('HSET', key, 'item', item)
        end
        put_on_list(id, model, in_front == '1')
    elseif place == 'delayed' then
        redis.call('ZADD', 'msaas:delayed', not_before, id)
    elseif place == 'leased' then
        redis.call('ZADD', 'msaas:leases', lease_until, id)
    end
    if charged then
        charge(owner, charged, cost, bytes)
    end
    return {place == 'waiting' and position(id, max) or -1, created,
            charged and usage(owner) or nil}
end

-- What a claim has to know of a record, empty if there is none: revision, place, created, attempts,
-- model, owner. nil: it is not of a job that waits.
local function waiting_record(id)
    local kind = redis.call('TYPE', record_key(id)).ok
    if kind == 'none' then
        return {}
    elseif kind ~= 'hash' then
        return nil
    end
    local old = redis.call('HMGET', record_key(id), 'revision', 'place', 'created', 'attempts',
        'model', 'owner')
    return (not old[1] or old[2] == 'waiting') and old or nil
end

local function lease(id, old, token, lease_ms)
    local now = now_ms()
    local lease_until = now + lease_ms
    local created = old[3] or redis.call('ZSCORE', 'msaas:jobs', id) or now
    local owner = old[6] or ''
    redis.call('ZADD', 'msaas:leases', lease_until, id)
    put_into('msaas:jobs', owner, created, id)
    put_into('msaas:state:running', owner, created, id)
    take_out_of('msaas:state:queued', owner, id)
    redis.call('HSET', record_key(id), 'revision', (tonumber(old[1]) or 0) + 1,
        'attempts', (tonumber(old[4]) or 0) + 1, 'place', 'leased', 'state', 'running',
        'created', created, 'started', now, 'token', token, 'lease_until', lease_until)
    return read(id, 0)
end

-- The next job on the model's own list, leased; 1: a stranger took it, call again; 2: there is
-- none. Its place on toWorker may be far behind, and is looked for once.
local function lease_own(model, token, lease_ms)
    local id = redis.call('RPOP', list_of(model))
    local old = id and waiting_record(id)
    if old and redis.call('LREM', 'toWorker', -1, item_of(id)) == 1 then
        return lease(id, old, token, lease_ms)
    end
    return id and 1 or 2
end

local GONE, OTHERS = 1, 2 -- of an item: it was taken off; it is a job for another model

-- What comes of an item for a worker with this model: the record, leased; the item, if it may be
-- JSON and has no more than item_max bytes, for C to judge; GONE; OTHERS. An id without a record is
-- a stranger's job: it is for any model, and gets a record without a document. What is not of a job
-- that waits is only taken off the list; if it is none at all, its beginning goes into junk.
local function take(item, model, token, lease_ms, item_max, junk)
    local id = id_of(item)
    local old = id and waiting_record(id)
    local wanted = old and old[5] or ''
    if not id and item:find('^%s*[{"]') and #item <= tonumber(item_max) then
        return item
    elseif not old then
        redis.call('LREM', 'toWorker', -1, item)
        if not id then
            table.insert(junk, item:sub(1, JUNK_BYTES))
        end
        return GONE
    elseif wanted ~= '' and wanted ~= model then
        return OTHERS
    end
    local leased = lease(id, old, token, lease_ms)
    -- last: if a step above fails, the job stays where it is
    redis.call('LREM', 'toWorker', -1, item)
    redis.call('LREM', list_of(wanted), -1, id)
    return leased
end

-- Whether toWorker holds more than the lists of the models do.
local function has_strange()
    local count = redis.call('LLEN', 'toWorker')
    for _, model in ipairs(redis.call('HKEYS', 'msaas:models')) do
        count = count - redis.call('LLEN', list_of(model))
    end
    return count > 0
end

-- By the lengths of the lists, which tell wrong while a stranger has taken a job: so some look.
local function has_nothing(model)
    return redis.call('LLEN', list_of(model)) == 0 and not has_strange()
end

-- Among FAR_MAX items behind the first `from`: the next that no record stands behind, as it is on
-- no model's list; nil: there is none. And from where to look on; 0: the list ends.
local function find_strange(from)
    local items = redis.call('LRANGE', 'toWorker', -from - FAR_MAX, -from - 1)
    local keys = {}
    for i, item in ipairs(items) do
        keys[i] = record_key(item:match('^{"songhash":"(%x+)"') or item)
    end
    if #keys > 0 and redis.call('EXISTS', unpack(keys)) < #keys then
        for i = #keys, 1, -1 do
            if redis.call('EXISTS', keys[i]) == 0 then
                return items[i], from
            end
        end
    end
    return nil, #items == FAR_MAX and from + FAR_MAX or 0
end

-- Leases the next job for the model, or for none. Behind CLAIM_MAX jobs for other models the
-- model's own are found, and those of strangers, who put them on no list of a model, when nothing
-- else is to be done: far: where the last claim ended that looked for them.
-- Returns what is next; the beginnings of items that were taken off because they are no jobs; and
-- where the next claim looks for strangers' jobs. What is next: the record; the item to be judged;
-- or 0: the list is empty; 1: items were taken off, call again; 2: only jobs for other models wait.
function operations.claim(model, token, lease_ms, item_max, far)
    local junk, others, gone = {}, 0, false
    for _ = 1, CLAIM_MAX do
        local item = redis.pcall('LINDEX', 'toWorker', -1 - others)
        if not item then
            return {others > 0 and 2 or 0, junk, 0}
        elseif type(item) == 'table' then
            return item -- the error: no list
        end
        local taken = take(item, model, token, lease_ms, item_max, junk)
        if taken == OTHERS then
            others = others + 1
            if others == 1 and has_nothing(model) and has_looked('msaas:looked:' .. model) then
                return {2, junk, 0}
            end
        elseif taken == GONE then
            gone = true
        else
            return {taken, junk, far}
        end
    end
    local own = lease_own(model, token, lease_ms)
    if own ~= 2 or gone then
        return {own == 2 and 1 or own, junk, far}
    elseif not has_strange() then
        return {2, junk, 0}
    end
    local strange, from = find_strange(math.max(far, CLAIM_MAX))
    return {strange and take(strange, model, token, lease_ms, item_max, junk) or 2, junk, from}
end

-- At most `max` ids in a set ordered by time, of those whose time has come; order: 'first' or
-- 'last' first. What is not the id of a job that has a record is only taken out of the set.
function operations.due(set, order, max)
    local ids, found = {}, nil
    repeat
        if order == 'last' then
            found = redis.call('ZREVRANGEBYSCORE', set, now_ms(), '-inf', 'LIMIT', 0, max)
        else
            found = redis.call('ZRANGEBYSCORE', set, '-inf', now_ms(), 'LIMIT', 0, max)
        end
        for _, id in ipairs(found) do
            if is_id(id) and redis.call('EXISTS', record_key(id)) == 1 then
                table.insert(ids, id)
            else
                redis.call('ZREM', set, id)
            end
        end
    until #ids > 0 or #found == 0
    return ids
end

-- At most `max` ids of jobs that came wait_ms ago, and wait for a model that no worker has had for
-- so long. Who asks has `model`.
function operations.unserved(model, wait_ms, max)
    local now = now_ms()
    redis.call('HSET', 'msaas:models', model, now)
    local ids = {}
    local served = redis.call('HGETALL', 'msaas:models')
    for i = 1, #served, 2 do
        if served[i + 1] + wait_ms <= now then
            local waiting = redis.call('LRANGE', list_of(served[i]), -max, -1)
            if #waiting == 0 then
                redis.call('HDEL', 'msaas:models', served[i])
            end
            for _, id in ipairs(waiting) do
                if (redis.call('ZSCORE', 'msaas:jobs', id) or 0) + wait_ms <= now then
                    table.insert(ids, id)
                end
            end
        end
    end
    return {unpack(ids, 1, math.min(#ids, max))}
end

-- At most `max` ids of jobs that wait by their records, but were taken off the list by a stranger,
-- the youngest first. The oldest jobs are looked at, whose turn it is: those that nobody took stand
-- near the list's right end, so that they are found at once. The rest of the list is read as often
-- as a job is missing, up to a limit. Whoever asks while msaas:looked is there gets none.
function operations.missing(_, _, max)
    local ids, waiting, read_items = {}, 0, 0
    if has_looked('msaas:looked') then
        return ids
    end
    local length = redis.pcall('LLEN', 'toWorker')
    if type(length) ~= 'number' then -- no list: whoever claims a job tells of it
        return ids
    end
    for _, id in ipairs(redis.call('ZRANGE', 'msaas:state:queued', 0, SWEEP_MAX - 1)) do
        if waiting == tonumber(max) or read_items > SWEEP_ITEMS_MAX then
            break
        elseif redis.pcall('HGET', record_key(id), 'place') == 'waiting' then
            waiting = waiting + 1
            local left = redis.call('LPOS', 'toWorker', item_of(id), 'RANK', -1)
            if not left then
                table.insert(ids, 1, id)
            end
            read_items = read_items + length - (left or 0)
        end
    end
    return ids
end

-- At most `max` ids of the jobs that came at least age_ms ago, the oldest first, but for `skip`.
function operations.oldest(age_ms, skip, max)
    return redis.call('ZRANGEBYSCORE', 'msaas:jobs', '-inf', now_ms() - age_ms, 'LIMIT', skip, max)
end

-- How many callbacks are due, the age of the oldest job that waits (0: none), how many jobs are in
-- each state, then each model and how many wait for it.
function operations.stats(...)
    local oldest = redis.call('ZRANGE', 'msaas:state:queued', 0, 0, 'WITHSCORES')
    local age = oldest[2] and math.max(0, now_ms() - oldest[2]) or 0
    local answer = {redis.call('ZCARD', 'msaas:outbox'), age}
    for _, state in ipairs({...}) do
        table.insert(answer, redis.call('ZCARD', 'msaas:state:' .. state))
    end
    for _, model in ipairs(redis.call('HKEYS', 'msaas:models')) do
        table.insert(answer, model)
        table.insert(answer, redis.call('LLEN', list_of(model)))
    end
    return answer
end

function operations.usage(owner)
    return usage(owner)
end

-- Charges bytes without a job. Returns 1, or 0 if that would exceed the limit, and the usage.
function operations.charge(owner, bytes, max_bytes)
    local used = usage(owner)
    if exceeds(used, 0, tonumber(bytes), 0, 0, tonumber(max_bytes)) then
        return {0, used}
    end
    charge(owner, used, 0, tonumber(bytes))
    return {1, usage(owner)}
end

-- Puts a note in the place of the old one; '': none. Returns 1, or what is there; nil: none.
function operations.note(name, old, note, keep_ms)
    local key = 'msaas:note:' .. name
    local there = redis.call('GET', key) or ''
    if there ~= old and there ~= note then
        return there ~= '' and there
    elseif note == '' then
        redis.call('DEL', key)
    else
        redis.call('SET', key, note, 'PX', keep_ms)
    end
    return 1
end

return operations[operation](unpack(ARGV))
