internal import RedisClient

/// Records what became of several jobs and takes several new ones, in one call.
///
/// A busy worker makes one call for many jobs; for one job it is what others do one at a time.
enum ExchangeScript {
    /// How many arguments each outcome has.
    static let outcomeArity = 9
    /// Where the first outcome begins in ARGV.
    static let firstOutcome = 13

    /// KEYS[1]: the queue's base.
    ///
    /// ARGV: the header; how many jobs to take; lock in ms; the worker's name (may be empty); the
    /// worker's limit of jobs and its window in ms (0: none); how many points of metrics to keep (0:
    /// none); the start of tokens and the number of the first one; how many ms each priority may
    /// wait, with commas (empty: strictly by priority); then for each outcome: kind, id, token,
    /// value, stack traces, and four more:
    ///
    /// | kind | value | then |
    /// |---|---|---|
    /// | `completed`, `failed` | return value or reason | kept count (-1: all), kept age in ms (-1: any), removed by age at most, attempts allowed |
    /// | `retry` | reason | `1` for last in first out |
    /// | `delay` | reason (empty: none) | wait in ms, `1` when it is no attempt |
    /// | `return` | | nothing: the job goes back to the front |
    ///
    /// Returns {results, jobs, state, number}: for each outcome 0, a negative code, or the words of
    /// an error; the jobs as {id, token, fields}; and `limited` (ms to wait), `blocked`, `next` (ms
    /// since 1970 when a job is due, or a pause ends) or `empty`. On a server that takes no writes it
    /// is an error, and nothing was done.
    static let script = RedisScript(
        Lua.queues + Lua.pausing + Lua.families + Lua.jobs + outcomes + order + taking + body,
        name: "queue-exchange"
    )

    /// Also for cancelling a job, with ARGV of the same form.
    static let outcomes = """
        local q = open(KEYS[1])
        local active = q.base .. 'active'
        local points = tonumber(ARGV[9])

        -- Deletes finished jobs beyond what is kept: the too old, the newest of them first, then
        -- the too many.
        local function prune(set, count, age, limit)
          local function drop(ids)
            for from = 1, #ids, 1000 do
              local to = math.min(from + 999, #ids)
              for i = from, to do deleteJob(q.base .. ids[i]) end
              call('ZREM', set, unpack(ids, from, to))
            end
          end
          if age >= 0 then
            drop(call('ZREVRANGEBYSCORE', set, now - age, '-inf', 'LIMIT', 0, limit))
          end
          if count > 0 then drop(call('ZRANGE', set, 0, -count - 1)) end
        end

        -- Counts a finished job in its minute.
        local function measure(kind)
          local key = q.base .. 'metrics:' .. kind
          local before = bump(key, 'count') - 1
          local last = call('HMGET', key, 'prevTS', 'prevCount')
          if not last[1] then
            call('HSET', key, 'prevTS', now, 'prevCount', 0)
            return
          end
          local minutes = math.floor(now / 60000) - math.floor(whole(last[1]) / 60000)
          local count = math.min(minutes, points)
          if count <= 0 then return end
          local data = key .. ':data'
          call('LPUSH', data, before - whole(last[2]))
          for _ = 2, count do call('LPUSH', data, 0) end
          call('LTRIM', data, 0, points - 1)
          call('HSET', key, 'prevCount', before, 'prevTS', now)
        end

        -- Takes the job out of `active`, with the checks that every outcome needs.
        local function leave(id, key, token, reason, traces)
          local code = release(q, id, token)
          if code < 0 then return code end
          if traces ~= '' then call('HSET', key, 'failedReason', reason, 'stacktrace', traces) end
          if call('LREM', active, -1, id) == 0 then return -3 end
          return 0
        end

        -- Ends a job that was taken out of `prev`.
        local function keep(id, key, kind, value, a, prev)
          local count = tonumber(ARGV[a + 5])
          local job = call('HMGET', key, 'deid', 'parentKey', 'parent')
          if job[1] then endDuplicates(q, id, job[1]) end
          if job[2] and kind == 'completed' then childCompleted(job[2], key, value) end
          if job[2] and kind == 'failed' then childFailed(job[2], job[3], key, value) end
          local attempts = prev == 'active' and bump(key, 'atm') or 0
          local property = kind == 'completed' and 'returnvalue' or 'failedReason'
          if count == 0 then
            deleteJob(key)
            detach(job[2], key)
          else
            local set = q.base .. kind
            call('ZADD', set, now, id)
            call('HSET', key, property, value, 'finishedOn', now)
            call('HDEL', key, 'defa')
            prune(set, count, tonumber(ARGV[a + 6]), tonumber(ARGV[a + 7]))
          end
          tell(q, kind, 'jobId', id, property, value, 'prev', prev)
          if kind == 'failed' and prev == 'active' and attempts >= tonumber(ARGV[a + 8]) then
            tell(q, 'retries-exhausted', 'jobId', id, 'attemptsMade', attempts)
          end
          if points > 0 then measure(kind) end
          q.hasFinished = true
        end

        local function conclude(a)
          local kind, id, token, value = ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3]
          local key = q.base .. id
          if not isHash(key) then return -1 end
          if kind == 'completed' and
            call('EXISTS', key .. ':dependencies', key .. ':unsuccessful') > 0 then
            return call('EXISTS', key .. ':dependencies') == 1 and -4 or -9
          end
          if kind == 'retry' then promote(q) end
          local code = leave(id, key, token, value, ARGV[a + 4])
          if code < 0 then return code end
          if kind == 'completed' or kind == 'failed' then
            keep(id, key, kind, value, a, 'active')
          elseif kind == 'delay' then
            local delay = tonumber(ARGV[a + 5])
            local due = string.format('%.0f', now + delay)
            if ARGV[a + 6] ~= '1' then bump(key, 'atm') end
            call('HSET', key, 'delay', delay)
            later(q, id, now + delay)
            tell(q, 'delayed', 'jobId', id, 'delay', due)
          else
            local priority = whole(call('HGET', key, 'priority'))
            local isBack = kind == 'return'
            ready(q, id, priority, isBack or (ARGV[a + 5] == '1' and priority == 0))
            if not isBack then bump(key, 'atm') end
            tell(q, 'waiting', 'jobId', id, 'prev', 'active')
          end
          return 0
        end

        """

    private static let order = """
        -- How long each priority may wait; nil where the smaller number always comes first.
        local targets
        for target in string.gmatch(ARGV[12], '%d+') do
          targets = targets or {}
          targets[#targets + 1] = tonumber(target)
        end

        -- When a job should be taken at the latest: what waits long overtakes.
        local function deadline(id, priority)
          local job = call('HMGET', q.base .. id, 'timestamp', 'opts')
          local isRead, opts = pcall(cjson.decode, job[2] or '')
          local delay = isRead and type(opts) == 'table' and whole(opts.delay) or 0
          return whole(job[1]) + delay + targets[math.min(priority + 1, #targets)]
        end

        -- The id to take next, now in `active`: of the first of each priority the earliest.
        local function popEarliest()
          local wait, prioritized = q.base .. 'wait', q.base .. 'prioritized'
          local best, time, isWaiting = call('LINDEX', wait, -1), nil, true
          if best and not isHash(q.base .. best) then return call('RPOPLPUSH', wait, active) end
          if best then time = deadline(best, 0) end
          local from = '-inf'
          for _ = 1, #targets do
            local head = call('ZRANGEBYSCORE', prioritized, from, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
            local id = head[1]
            if not id then break end
            local priority = math.floor(tonumber(head[2]) / 4294967296)
            local due = isHash(q.base .. id) and deadline(id, priority) or 0
            if not time or due < time then best, time, isWaiting = id, due, false end
            from = (priority + 1) * 4294967296
          end
          if not best or isWaiting then return best and call('RPOPLPUSH', wait, active) end
          call('ZREM', prioritized, best)
          call('LPUSH', active, best)
          return best
        end

        """

    private static let taking = """
        local lock, worker = tonumber(ARGV[5]), ARGV[6]
        local limiter = q.base .. 'limiter'
        local max = q.max or (tonumber(ARGV[7]) > 0 and tonumber(ARGV[7]) or nil)
        local window = tonumber(ARGV[8]) > 0 and tonumber(ARGV[8]) or q.duration or 0

        -- How long to wait for the limit of the present window; 0 for not at all.
        local function limited()
          if not max or whole(call('GET', limiter)) < max then return 0 end
          local left = call('PTTL', limiter)
          if left > 0 then return left end
          call('DEL', limiter)
          return 0
        end

        -- The next id, now in `active`; ids without a job and markers of old versions are dropped.
        local function pop()
          for _ = 1, 1000 do
            local id
            if targets then
              id = popEarliest()
            else
              id = call('RPOPLPUSH', q.base .. 'wait', active)
            end
            if not id then
              id = call('ZPOPMIN', q.base .. 'prioritized')[1]
              if not id then
                call('DEL', q.base .. 'pc')
                return nil
              end
              call('LPUSH', active, id)
            end
            if string.sub(id, 1, 2) ~= '0:' and isHash(q.base .. id) then return id end
            call('LREM', active, 1, id)
          end
        end

        local function take(token)
          local id = pop()
          if not id then return nil end
          local key = q.base .. id
          if token ~= '0' then call('SET', key .. ':lock', token, 'PX', lock) end
          tell(q, 'active', 'jobId', id, 'prev', 'waiting')
          if worker == '' then
            call('HSET', key, 'processedOn', now)
          else
            call('HSET', key, 'processedOn', now, 'pb', worker)
          end
          bump(key, 'ats')
          if max and call('HEXISTS', key, 'defa') == 0 and
            redis.pcall('INCR', limiter) == 1 then
            call('PEXPIRE', limiter, math.max(window, 1))
          end
          return {id, token, call('HGETALL', key)}
        end

        """

    private static let body = """
        local results, jobs, state, number = {}, {}, 'empty', 0
        for a = 13, #ARGV, 9 do
          -- A stray key of the wrong type must not hold up the other jobs.
          local isRun, result = pcall(conclude, a)
          if not isRun and type(result) == 'table' then result = result.err end
          if not isRun then
            -- Without writes there was none before either: the caller keeps what it wants recorded.
            local code = string.match(tostring(result), '^-?(%u+) ')
            if code == 'READONLY' or code == 'OOM' or code == 'MISCONF' or code == 'NOREPLICAS' then
              return redis.error_reply(result)
            end
          end
          results[#results + 1] = result
        end
        local wanted = tonumber(ARGV[4])
        if wanted > 0 and q.isPaused and q.pausedUntil > 0 and q.pausedUntil <= now then lift(q) end
        if wanted > 0 then promote(q) end
        for i = 1, wanted do
          number = limited()
          if number > 0 then state = 'limited' break end
          if isBlocked(q) then
            state = 'blocked'
            if q.isPaused and q.pausedUntil > 0 then state, number = 'next', q.pausedUntil end
            break
          end
          local token = ARGV[10]
          if token ~= '0' then token = token .. ':' .. string.format('%.0f', ARGV[11] + i - 1) end
          local job = take(token)
          if not job then break end
          jobs[i] = job
        end
        if #jobs > 0 then call('ZADD', q.base .. 'marker', 0, '0') end
        if state == 'empty' and #jobs < wanted then
          local head = call('ZRANGE', q.base .. 'delayed', 0, 0, 'WITHSCORES')[2]
          if head then state, number = 'next', math.floor(tonumber(head) / 4096) end
        end
        if q.hasFinished and #jobs == 0 then
          if state == 'empty' and call('EXISTS', q.base .. 'wait', active, q.base .. 'prioritized') == 0 then
            tell(q, 'drained')
          end
          -- A place that became free under a global limit has no other signal.
          if q.concurrency and wanted == 0 and
            call('EXISTS', q.base .. 'wait', q.base .. 'prioritized') > 0 then
            q.hasReady = true
          end
        end
        settle()
        return {results, jobs, state, number}
        """
}
