internal import RedisClient

/// Planning the runs of schedulers.
///
/// KEYS[1]: the queue's base; ARGV: the header and what each script names. The options of a run hold
/// its time, which for `every` is settled here: they come as the text of a JSON object without its
/// closing brace, and as the text of a JSON string with the run's id up to the time.
enum SchedulerScripts {
    /// Makes a scheduler, or replaces it, and plans its run.
    ///
    /// ARGV: id, name, data, stored options, options of the run (open), id of the run (open), every
    /// (empty: a pattern), offset (may be empty), the run's time by the pattern, priority, `1` for
    /// last in first out, then names and values of further fields. Returns {id of the run, ms to
    /// wait} or -10 or -11.
    static let upsert = RedisScript(
        Lua.queues + Lua.families + Lua.jobs + JobScripts.removing + planning + """
            local every, offset = tonumber(ARGV[10]), tonumber(ARGV[11])
            local previous = tonumber(call('ZSCORE', q.base .. 'repeat', scheduler))
            local hadEvery = tonumber(call('HGET', key, 'every'))
            local reused
            if previous then
              local pending = runID(previous)
              local isOut = false
              for _, set in ipairs({'delayed', 'prioritized'}) do
                isOut = isOut or call('ZREM', q.base .. set, pending) == 1
              end
              isOut = isOut or call('LREM', q.list, 0, pending) > 0
              if isOut then
                deleteJob(q.base .. pending)
                reused = every and every == hadEvery and previous
              end
              if every and every ~= hadEvery then previous = nil end
            end
            local time = tonumber(ARGV[12])
            if every then
              local start
              for a = 15, #ARGV, 2 do
                if ARGV[a] == 'startDate' then start = tonumber(ARGV[a + 1]) end
              end
              time = reused or nextEvery(previous, every, offset, start)
              local tries = 0
              while call('EXISTS', q.base .. runID(time)) == 1 do
                time, tries = time + every, tries + 1
                if tries > 32 then return -11 end
              end
            elseif call('EXISTS', q.base .. runID(time)) == 1 then
              return -10
            end
            local count = call('HGET', key, 'ic') or 1
            call('DEL', key)
            call('HSET', key, 'name', ARGV[5], 'ic', count, 'opts', ARGV[7], unpack(ARGV, 15))
            if ARGV[6] ~= '{}' then call('HSET', key, 'data', ARGV[6]) end
            if every then call('HSET', key, 'every', every, 'offset', time % every) end
            local id, delay = plan(time, ARGV[5], ARGV[6], ARGV[8], ARGV[9], ARGV[13], ARGV[14])
            settle()
            return {id, delay}
            """,
        name: "queue-scheduler-upsert"
    )

    /// Plans the run that follows one that was just taken.
    ///
    /// ARGV: id, id of the run that was taken, options of the next run (open), its id (open), its
    /// time by the pattern (empty: by `every`), priority, `1` for last in first out. Returns the next
    /// run's id, or nothing when the run taken was not the planned one.
    static let advance = RedisScript(
        Lua.queues + Lua.families + Lua.jobs + planning + """
            local previous = tonumber(call('ZSCORE', q.base .. 'repeat', scheduler))
            if not previous or ARGV[5] ~= runID(previous) or not isHash(key) then return false end
            local stored = call('HMGET', key, 'name', 'data', 'every', 'offset')
            local time, every = tonumber(ARGV[8]), tonumber(stored[3])
            if every and every > 0 then
              time = nextEvery(previous, every, tonumber(stored[4]))
            end
            if not time then return false end
            local id = runID(time)
            if call('EXISTS', q.base .. id) == 1 then
              tell(q, 'duplicated', 'jobId', id)
              return false
            end
            bump(key, 'ic')
            plan(time, stored[1] or '', stored[2] or '{}', ARGV[6], ARGV[7], ARGV[9], ARGV[10])
            settle()
            return id
            """,
        name: "queue-scheduler-advance"
    )

    /// Removes a scheduler and its planned run.
    ///
    /// ARGV: id. Returns 0, or 1 when there is none.
    static let remove = RedisScript(
        Lua.queues + Lua.families + planning + """
            local planned = tonumber(call('ZSCORE', q.base .. 'repeat', scheduler))
            if planned then
              local id = runID(planned)
              if call('ZREM', q.base .. 'delayed', id) == 1 then
                deleteJob(q.base .. id)
                tell(q, 'removed', 'jobId', id, 'prev', 'delayed')
              end
            end
            call('DEL', key)
            return 1 - call('ZREM', q.base .. 'repeat', scheduler)
            """,
        name: "queue-scheduler-remove"
    )

    private static let planning = """
        local q, scheduler = open(KEYS[1]), ARGV[4]
        local key = q.base .. 'repeat:' .. scheduler

        local function runID(time)
          return 'repeat:' .. scheduler .. ':' .. string.format('%.0f', time)
        end

        -- The next multiple of `every`, shifted by `offset`, that is after now.
        local function aligned(every, offset)
          local time = math.floor(now / every) * every + offset
          if time <= now then time = time + every end
          return time
        end

        local function nextEvery(previous, every, offset, start)
          if previous then
            local time = previous + every
            return time >= now and time or aligned(every, offset or 0)
          end
          if start then return math.max(start, now) end
          if offset and offset > 0 then return aligned(every, offset) end
          return now
        end

        -- Plans a run: its job, and its time as the scheduler's score.
        local function plan(time, name, data, opts, idText, priority, isFirst)
          local delay = math.max(0, time - now)
          local text, wait = string.format('%.0f', time), string.format('%.0f', delay)
          local id = runID(time)
          call('ZADD', q.base .. 'repeat', time, scheduler)
          call('INCR', q.base .. 'id')
          insert(q, id, {name = name, data = data,
            opts = opts .. ',"jobId":' .. idText .. text .. '","prevMillis":' .. text ..
              ',"delay":' .. wait .. '}',
            timestamp = now, delay = delay, priority = priority, isFirst = isFirst == '1',
            scheduler = scheduler})
          return id, delay
        end

        """
}
