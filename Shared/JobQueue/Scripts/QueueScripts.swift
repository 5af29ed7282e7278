internal import RedisClient

/// What people do to a whole queue.
///
/// KEYS[1]: the queue's base; ARGV: the header and what each script names. Long work is done in parts: the caller goes on until the script says that it is done.
enum QueueScripts {
    /// How many jobs one call handles at most.
    static let partMax = 1000

    /// Lets no job be taken.
    ///
    /// ARGV: why, who, and the ms since 1970 when it ends by itself (empty: it does not). Peers know
    /// only that it is paused. Returns 1 while more is to be moved to the list of paused jobs, else 0.
    static let pause = RedisScript(
        Lua.queues + """
            local q = open(KEYS[1])
            local meta = q.base .. 'meta'
            call('HSET', meta, 'paused', 1, 'pausedAt', now)
            for i, field in ipairs({'pausedReason', 'pausedBy', 'pausedUntil'}) do
              local value = ARGV[3 + i]
              if value == '' then call('HDEL', meta, field) else call('HSET', meta, field, value) end
            end
            call('DEL', q.base .. 'marker')
            if legacy then
              for i = 1, 7000 do
                if not call('RPOPLPUSH', q.base .. 'wait', q.base .. 'paused') then break end
                if i == 7000 then return 1 end
              end
            end
            tell(q, 'paused')
            return 0
            """,
        name: "queue-pause"
    )

    /// Lets jobs be taken again.
    ///
    /// Returns 1 while more is to be merged from the list of paused jobs, else 0.
    static let resume = RedisScript(
        Lua.queues + Lua.pausing + """
            if not lift(open(KEYS[1])) then return 1 end
            settle()
            return 0
            """,
        name: "queue-resume"
    )

    /// Deletes jobs of one list or set, oldest first.
    ///
    /// ARGV: the key's ending, how many to leave out, how many to take, and the latest time in ms of
    /// a job to remove (empty: any).
    ///
    /// Kept are jobs that a worker holds, the planned runs of schedulers, and those
    /// too young. Returns {seen, kept, ids removed}.
    static let removeSome = RedisScript(
        Lua.queues + Lua.families + JobScripts.removing + """
            local q, place = open(KEYS[1]), ARGV[4]
            local from, count, limit = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
            local source = q.base .. place
            local isList = place == 'wait' or place == 'paused' or place == 'active'
            local isFinished = place == 'completed' or place == 'failed'
            local ids
            if isList then
              ids = {}
              for _, id in ipairs(call('LRANGE', source, -from - count, -from - 1)) do
                table.insert(ids, 1, id)
              end
            elseif isFinished and limit then
              ids = call('ZRANGEBYSCORE', source, '-inf', limit, 'LIMIT', from, count)
            else
              ids = call('ZRANGE', source, from, from + count - 1)
            end
            local function isYoung(key)
              if not limit or isFinished or not isHash(key) then return false end
              local times = call('HMGET', key, 'finishedOn', 'processedOn', 'timestamp')
              return whole(times[1] or times[2] or times[3]) > limit
            end
            local removed, kept = {}, 0
            for _, id in ipairs(ids) do
              local key = q.base .. id
              local isHeld = call('EXISTS', key .. ':lock') == 1
              if isHeld or (isHash(key) and isPending(q.base, id)) or isYoung(key) then
                kept = kept + 1
              else
                if isList then call('LREM', source, -1, id) else call('ZREM', source, id) end
                dismiss(q, id, key)
                removed[#removed + 1] = id
              end
            end
            settle()
            return {#ids, kept, removed}
            """,
        name: "queue-remove-some"
    )

    /// Tells that jobs were cleaned.
    ///
    /// ARGV: how many.
    static let cleaned = RedisScript(
        Lua.queues + "tell(open(KEYS[1]), 'cleaned', 'count', ARGV[4])\n",
        name: "queue-cleaned"
    )

    /// Lets finished jobs run again.
    ///
    /// ARGV: `completed` or `failed`, the latest time in ms, how many. Returns {1 while more may be
    /// left, how many}.
    static let retrySome = RedisScript(
        Lua.queues + Lua.families + JobScripts.retrying + """
            local q, before, count = open(KEYS[1]), ARGV[4], tonumber(ARGV[6])
            local set = q.base .. before
            local ids = call('ZRANGEBYSCORE', set, '-inf', ARGV[5], 'LIMIT', 0, count)
            for _, id in ipairs(ids) do
              call('ZREM', set, id)
              if isHash(q.base .. id) then
                unfinish(q, id, before)
                ready(q, id, 0)
                tell(q, 'waiting', 'jobId', id, 'prev', before)
              end
            end
            settle()
            return {#ids == count and 1 or 0, #ids}
            """,
        name: "queue-retry-some"
    )

    /// Lets delayed jobs run now.
    ///
    /// ARGV: how many. Returns {1 while more may be left, how many}.
    static let promoteSome = RedisScript(
        Lua.queues + """
            local q, count = open(KEYS[1]), tonumber(ARGV[4])
            local ids = call('ZRANGE', q.base .. 'delayed', 0, count - 1)
            for _, id in ipairs(ids) do
              call('ZREM', q.base .. 'delayed', id)
              if isHash(q.base .. id) then
                call('HSET', q.base .. id, 'delay', 0)
                ready(q, id, 0)
                tell(q, 'waiting', 'jobId', id, 'prev', 'delayed')
              end
            end
            settle()
            return {#ids == count and 1 or 0, #ids}
            """,
        name: "queue-promote-some"
    )

    /// Deletes the queue.
    ///
    /// ARGV: how many jobs, `1` to take active ones too. Returns {state, how many}; the state is 1
    /// while more is left, 0 at the end, -1 when the queue is not paused, -2 when it has active jobs.
    static let obliterate = RedisScript(
        Lua.queues + Lua.families + JobScripts.removing + """
            local q, budget = open(KEYS[1]), tonumber(ARGV[4])
            local count = 0
            if not q.isPaused then return {-1, 0} end
            if ARGV[5] ~= '1' and call('LLEN', q.base .. 'active') > 0 then return {-2, 0} end
            -- Parents first, or the end of their children would make them ready again.
            for _, place in ipairs({'active', 'waiting-children', 'wait', 'paused', 'delayed',
              'prioritized', 'completed', 'failed'}) do
              local source = q.base .. place
              local isList = call('TYPE', source).ok == 'list'
              while true do
                local id
                if isList then id = call('RPOP', source) else id = call('ZPOPMIN', source)[1] end
                if not id then break end
                local key = q.base .. id
                call('DEL', key .. ':lock')
                dismiss(q, id, key)
                count = count + 1
                if count >= budget then
                  settle()
                  return {1, count}
                end
              end
            end
            for _, id in ipairs(call('ZRANGE', q.base .. 'repeat', 0, -1)) do
              call('DEL', q.base .. 'repeat:' .. id)
            end
            -- Parents in other queues may have been released; this queue's own marker goes below.
            opened[q.base] = nil
            settle()
            for _, ending in ipairs({'repeat', 'events', 'stalled-check', 'stalled', 'id', 'pc',
              'marker', 'meta', 'limiter', 'delay', 'metrics:completed', 'metrics:failed',
              'metrics:completed:data', 'metrics:failed:data'}) do
              call('DEL', q.base .. ending)
            end
            return {0, count}
            """,
        name: "queue-obliterate"
    )
}
