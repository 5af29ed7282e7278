internal import RedisClient

/// What people and processors do to one job.
///
/// KEYS[1]: the queue's base; ARGV: the header, the id,
/// and what each script names. A negative answer is an error's code.
enum JobScripts {
    /// Returns the name of the job's state.
    static let state = RedisScript(
        """
        local base, id = KEYS[1], ARGV[4]
        for _, set in ipairs({'completed', 'failed', 'delayed', 'prioritized'}) do
          if redis.call('ZSCORE', base .. set, id) then return set end
        end
        if redis.call('LPOS', base .. 'active', id) then return 'active' end
        if redis.call('LPOS', base .. 'wait', id) then return 'waiting' end
        if redis.call('LPOS', base .. 'paused', id) then return 'waiting' end
        if redis.call('ZSCORE', base .. 'waiting-children', id) then return 'waiting-children' end
        return 'unknown'
        """,
        name: "queue-state"
    )

    /// Replaces a field.
    ///
    /// ARGV: field (`data` or `progress`), JSON text. Returns 0.
    static let setField = RedisScript(
        Lua.queues + """
            local q = open(KEYS[1])
            local key = q.base .. ARGV[4]
            if not isHash(key) then return -1 end
            call('HSET', key, ARGV[5], ARGV[6])
            if ARGV[5] == 'progress' then tell(q, 'progress', 'jobId', ARGV[4], 'data', ARGV[6]) end
            return 0
            """,
        name: "queue-set-field"
    )

    /// Adds to the log.
    ///
    /// ARGV: line, how many lines stay (0: all). Returns how many there are.
    static let log = RedisScript(
        """
        local key, kept = KEYS[1] .. ARGV[4], tonumber(ARGV[6])
        if redis.call('EXISTS', key) == 0 then return -1 end
        local count = redis.call('RPUSH', key .. ':logs', ARGV[5])
        if kept == 0 then return count end
        redis.call('LTRIM', key .. ':logs', -kept, -1)
        return math.min(kept, count)
        """,
        name: "queue-log"
    )

    /// Lets a delayed job run now; returns 0.
    static let promote = RedisScript(
        Lua.queues + """
            local q, id = open(KEYS[1]), ARGV[4]
            local key = q.base .. id
            if call('ZREM', q.base .. 'delayed', id) == 0 then return -3 end
            if not isHash(key) then return -1 end
            ready(q, id, whole(call('HGET', key, 'priority')))
            tell(q, 'waiting', 'jobId', id, 'prev', 'delayed')
            call('HSET', key, 'delay', 0)
            settle()
            return 0
            """,
        name: "queue-promote"
    )

    /// Puts a delayed job off anew.
    ///
    /// ARGV: ms from now. Returns 0.
    static let setDelay = RedisScript(
        Lua.queues + """
            local q, id, delay = open(KEYS[1]), ARGV[4], tonumber(ARGV[5])
            local key = q.base .. id
            if not isHash(key) then return -1 end
            if call('ZREM', q.base .. 'delayed', id) == 0 then return -3 end
            call('HSET', key, 'delay', delay)
            later(q, id, now + delay)
            tell(q, 'delayed', 'jobId', id, 'delay', string.format('%.0f', now + delay))
            settle()
            return 0
            """,
        name: "queue-set-delay"
    )

    /// Gives a job another priority.
    ///
    /// ARGV: priority, `1` for the first place in it. Returns 0.
    static let setPriority = RedisScript(
        Lua.queues + """
            local q, id, priority = open(KEYS[1]), ARGV[4], tonumber(ARGV[5])
            local key = q.base .. id
            if not isHash(key) then return -1 end
            if call('ZREM', q.base .. 'prioritized', id) == 1 or
              call('LREM', q.base .. 'wait', -1, id) == 1 or
              call('LREM', q.base .. 'paused', -1, id) == 1 then
              ready(q, id, priority, ARGV[6] == '1')
            end
            call('HSET', key, 'priority', priority)
            settle()
            return 0
            """,
        name: "queue-set-priority"
    )

    /// Lets a finished job run again.
    ///
    /// ARGV: `1` to count attempts anew. Returns 1.
    static let retry = RedisScript(
        Lua.queues + Lua.families + retrying + """
            local q, id = open(KEYS[1]), ARGV[4]
            local key = q.base .. id
            if not isHash(key) then return -1 end
            local before = 'failed'
            if call('ZREM', q.base .. 'failed', id) == 0 then
              if call('ZREM', q.base .. 'completed', id) == 0 then return -3 end
              before = 'completed'
            end
            unfinish(q, id, before)
            if ARGV[5] == '1' then call('HDEL', key, 'atm', 'ats') end
            local job = call('HMGET', key, 'priority', 'opts')
            local priority = whole(job[1])
            local isFirst = string.find(job[2] or '', '"lifo"%s*:%s*true') ~= nil
            ready(q, id, priority, isFirst and priority == 0)
            tell(q, 'waiting', 'jobId', id, 'prev', before)
            settle()
            return 1
            """,
        name: "queue-retry"
    )

    /// Deletes a job.
    ///
    /// ARGV: `1` to remove children too. Returns 1, or 0 when a worker holds one of them.
    static let remove = RedisScript(
        Lua.queues + Lua.families + removing + """
            local base, id = KEYS[1], ARGV[4]
            if isPending(base, id) then return -8 end
            local jobs = {}
            if ARGV[5] == '1' then collect(base .. id, jobs, {}) else jobs[1] = base .. id end
            for _, key in ipairs(jobs) do
              if call('EXISTS', key .. ':lock') == 1 then return 0 end
            end
            for i = #jobs, 1, -1 do removeJob(jobs[i]) end
            settle()
            return 1
            """,
        name: "queue-remove"
    )

    /// Cancels a job.
    ///
    /// ARGV: as ``ExchangeScript``'s with one failed outcome. Returns `cancelled`, `too_late`, or
    /// `requested` when a worker has it: `defa` makes whoever fetches a job fail it.
    static let cancel = RedisScript(
        Lua.queues + Lua.families + Lua.jobs + removing + ExchangeScript.outcomes + """
            local id, text = ARGV[14], ARGV[16]
            local key = q.base .. id
            if not isHash(key) then return -1 end
            if call('ZSCORE', q.base .. 'completed', id) or call('ZSCORE', q.base .. 'failed', id) then
              return 'too_late'
            end
            if call('LPOS', active, id) then
              call('HSET', key, 'defa', text)
              return 'requested'
            end
            if isPending(q.base, id) then return -8 end
            local before = takeOut(q, id)
            if before == 'unknown' then return -3 end
            keep(id, key, 'failed', text, 13, before)
            settle()
            return 'cancelled'
            """,
        name: "queue-cancel"
    )

    /// Lets a held job wait for its children.
    ///
    /// ARGV: token. Returns 0, or 1 when there are no open children.
    static let waitForChildren = RedisScript(
        Lua.queues + """
            local q, id, token = open(KEYS[1]), ARGV[4], ARGV[5]
            local key = q.base .. id
            if not isHash(key) then return -1 end
            if call('ZCARD', key .. ':unsuccessful') > 0 then return -9 end
            if call('SCARD', key .. ':dependencies') == 0 then return 1 end
            local code = release(q, id, token)
            if code < 0 then return code end
            if call('LREM', q.base .. 'active', -1, id) == 0 then return -3 end
            call('ZADD', q.base .. 'waiting-children', now, id)
            tell(q, 'waiting-children', 'jobId', id, 'prev', 'active')
            if q.concurrency then q.hasReady = true end
            settle()
            return 0
            """,
        name: "queue-wait-for-children"
    )

    /// Undoing the end of a job.
    static let retrying = """
        local function unfinish(q, id, before)
          local key = q.base .. id
          local property = before == 'failed' and 'failedReason' or 'returnvalue'
          call('HDEL', key, 'finishedOn', 'processedOn', property)
          -- A parent that counted this child as ended waits for it again.
          local parentKey = call('HGET', key, 'parentKey')
          if not parentKey or not isHash(parentKey) then return end
          local counted = call('HDEL', parentKey .. ':processed', key)
            + call('HDEL', parentKey .. ':failed', key)
            + call('ZREM', parentKey .. ':unsuccessful', key)
          if counted > 0 then call('SADD', parentKey .. ':dependencies', key) end
        end

        """

    /// Removing a job wherever it is.
    static let removing = """
        -- Whether a job is the run that its scheduler has planned next.
        local function isPending(base, id)
          local scheduler = call('HGET', base .. id, 'rjk')
          local planned = scheduler and call('ZSCORE', base .. 'repeat', scheduler)
          return planned and
            id == 'repeat:' .. scheduler .. ':' .. string.format('%.0f', tonumber(planned))
        end

        -- A job and its descendants, parents first.
        local function collect(key, jobs, seen)
          if seen[key] then return end
          seen[key] = true
          jobs[#jobs + 1] = key
          local function all(children)
            for _, child in ipairs(children) do collect(child, jobs, seen) end
          end
          all(call('HKEYS', key .. ':processed'))
          all(call('HKEYS', key .. ':failed'))
          all(call('ZRANGE', key .. ':unsuccessful', 0, -1))
          all(call('SMEMBERS', key .. ':dependencies'))
        end

        -- Takes an id out of whatever holds it; the name of that.
        local function takeOut(q, id)
          for _, list in ipairs({'wait', 'paused', 'active'}) do
            if call('LREM', q.base .. list, 0, id) > 0 then return list end
          end
          for _, set in ipairs({'delayed', 'prioritized', 'waiting-children', 'completed',
            'failed'}) do
            if call('ZREM', q.base .. set, id) == 1 then return set end
          end
          return 'unknown'
        end

        -- Deletes a job that nothing holds any more, and what refers to it.
        local function dismiss(q, id, key)
          if isHash(key) then
            local job = call('HMGET', key, 'deid', 'parentKey')
            forgetDuplicate(q, id, job[1])
            detach(job[2], key)
          end
          deleteJob(key)
        end

        local function removeJob(key)
          local base, id = split(key)
          if not base then return end
          local q = open(base)
          local before = takeOut(q, id)
          dismiss(q, id, key)
          tell(q, 'removed', 'jobId', id, 'prev', before)
        end

        """
}
