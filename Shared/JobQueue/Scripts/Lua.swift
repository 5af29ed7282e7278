/// The parts that scripts are put together from, each a piece of Lua with local functions.
///
/// KEYS of every script are bases of queues (`<prefix>:<queue>:`); every key of a queue is its base
/// and an ending, so that all share the base's slot where it carries a tag. ARGV begins with a
/// header of three: `now` in ms, how many events a queue without a setting keeps, and `1` where
/// version 5 clients share the queue (ready jobs of a paused queue then go to its list `paused`).
///
/// Stored JSON is passed on as text and never encoded here, as cjson writes numbers with 14 digits.
/// Numbers go to commands as numbers, which Redis writes with 17.
enum Lua {
    /// How many arguments the header has.
    static let headerCount = 3

    /// Queues, their settings, events and markers.
    static let queues = """
        local now, eventsDefault, legacy = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1'
        local call = redis.call
        local opened = {}

        -- A whole number from a field that anybody may have written.
        local function whole(text)
          local number = tonumber(text)
          if not number or number ~= number or number < 0 or number >= 2^53 then return 0 end
          return math.floor(number)
        end

        local function isHash(key) return call('TYPE', key).ok == 'hash' end

        -- Adds one to a field; what is no number there counts as 0.
        local function bump(key, field)
          local sum = redis.pcall('HINCRBY', key, field, 1)
          if type(sum) == 'number' then return sum end
          call('HSET', key, field, 1)
          return 1
        end

        -- A queue and its settings, which are read once in a script.
        local function open(base)
          local q = opened[base]
          if q then return q end
          local set = call('HMGET', base .. 'meta', 'paused', 'concurrency', 'max', 'duration',
            'opts.maxLenEvents', 'pausedUntil')
          local kept = tonumber(set[5])
          if not kept or kept < 0 or kept >= 2^31 then kept = nil end
          q = {base = base, events = base .. 'events', isPaused = set[1] and true,
            concurrency = tonumber(set[2]), max = tonumber(set[3]), duration = set[4] and whole(set[4]),
            kept = math.floor(kept or eventsDefault), hasSetting = set[5] and true, pausedUntil = whole(set[6])}
          q.list = base .. ((legacy and q.isPaused) and 'paused' or 'wait')
          opened[base] = q
          return q
        end

        local function tell(q, event, ...)
          call('XADD', q.events, 'MAXLEN', '~', q.kept, '*', 'event', event, ...)
        end

        -- Whether no job may be taken: paused, or as many active as allowed.
        local function isBlocked(q)
          return q.isPaused or
            (q.concurrency and call('LLEN', q.base .. 'active') >= q.concurrency)
        end

        -- Puts a job where ready jobs wait; at the front of those of its priority if asked.
        local function ready(q, id, priority, isFirst)
          if priority == 0 then
            call(isFirst and 'RPUSH' or 'LPUSH', q.list, id)
          else
            local place = isFirst and 0 or call('INCR', q.base .. 'pc') % 4294967296
            call('ZADD', q.base .. 'prioritized', priority * 4294967296 + place, id)
          end
          q.hasReady = true
        end

        -- Puts a job where it waits for its time; jobs of one millisecond keep their order.
        local function later(q, id, due)
          due = math.min(due, 2199023255551)
          local delayed, first = q.base .. 'delayed', due * 4096
          local last = call('ZREVRANGEBYSCORE', delayed, first + 4095, first, 'WITHSCORES',
            'LIMIT', 0, 1)[2]
          local score = last and math.min(tonumber(last) + 1, first + 4095) or first
          call('ZADD', delayed, score, id)
          q.hasDelayed = true
        end

        -- Wakes sleepers of every queue that got something; last in every script.
        local function settle()
          for base, q in pairs(opened) do
            if q.hasReady and not isBlocked(q) then call('ZADD', base .. 'marker', 0, '0') end
            if q.hasDelayed then
              local head = call('ZRANGE', base .. 'delayed', 0, 0, 'WITHSCORES')[2]
              if head then call('ZADD', base .. 'marker', tonumber(head) / 4096, '1') end
            end
          end
        end

        -- Moves jobs whose time has come to where ready jobs wait.
        local function promote(q)
          local delayed = q.base .. 'delayed'
          local due = call('ZRANGEBYSCORE', delayed, '-inf', (now + 1) * 4096 - 1, 'LIMIT', 0, 1000)
          if #due == 0 then return end
          call('ZREM', delayed, unpack(due))
          for _, id in ipairs(due) do
            local key = q.base .. id
            -- An id whose job is gone must not come back as a job without a name.
            if isHash(key) then
              ready(q, id, whole(call('HGET', key, 'priority')))
              tell(q, 'waiting', 'jobId', id, 'prev', 'delayed')
              call('HSET', key, 'delay', 0)
            end
          end
        end

        -- Gives a lock back; the token 0 holds none.
        local function release(q, id, token)
          if token == '0' then return 0 end
          local lock = q.base .. id .. ':lock'
          local owner = call('GET', lock)
          if owner ~= token then return owner and -6 or -2 end
          call('DEL', lock)
          call('SREM', q.base .. 'stalled', id)
          return 0
        end

        """

    /// Ending a pause.
    static let pausing = """
        -- Ends a pause; what an older client's list of paused jobs holds is older and served first.
        -- False while more of that is to be moved: then the pause goes on until the next call.
        local function lift(q)
          local wait, paused = q.base .. 'wait', q.base .. 'paused'
          if call('EXISTS', wait) == 0 and call('EXISTS', paused) == 1 then
            call('RENAME', paused, wait)
          end
          for i = 1, 7000 do
            if not call('LMOVE', paused, wait, 'LEFT', 'RIGHT') then break end
            if i == 7000 then return false end
          end
          call('HDEL', q.base .. 'meta', 'paused', 'pausedReason', 'pausedBy', 'pausedAt',
            'pausedUntil')
          q.isPaused, q.list = nil, wait
          if call('EXISTS', wait, q.base .. 'prioritized') > 0 then
            q.hasReady = true
          else
            q.hasDelayed = true
          end
          tell(q, 'resumed')
          return true
        end

        """

    /// Parents and children, and deleting jobs.
    static let families = """
        local function split(jobKey) return string.match(jobKey, '^(.*:)([^:]+)$') end

        -- A flag of a child's `parent` field. The quoted name of a member cannot appear inside a
        -- string of valid JSON, where its quotes would be escaped.
        local function hasFlag(parent, flag)
          return string.find(parent or '', '"' .. flag .. '"%s*:%s*true') ~= nil
        end

        -- Ends a parent's wait for its children, where it does wait.
        local function leaveChildren(parentKey)
          local base, id = split(parentKey)
          if not base or not isHash(parentKey) then return end
          local q = open(base)
          if call('ZREM', base .. 'waiting-children', id) == 0 then return end
          local job = call('HMGET', parentKey, 'delay', 'priority')
          local delay, priority = whole(job[1]), whole(job[2])
          if delay > 0 then
            later(q, id, now + delay)
            tell(q, 'delayed', 'jobId', id, 'delay', string.format('%.0f', now + delay))
          else
            ready(q, id, priority, priority == 0)
            tell(q, 'waiting', 'jobId', id, 'prev', 'waiting-children')
          end
        end

        local function childCompleted(parentKey, childKey, value)
          local open = parentKey .. ':dependencies'
          if call('SREM', open, childKey) == 0 then return end
          call('HSET', parentKey .. ':processed', childKey, value)
          if call('SCARD', open) == 0 then leaveChildren(parentKey) end
        end

        -- Makes a parent fail at its next fetch, and lets it be fetched.
        local function failParent(parentKey, childKey)
          local base, id = split(parentKey)
          if not base or not isHash(parentKey) then return end
          local q = open(base)
          call('ZADD', parentKey .. ':unsuccessful', now, childKey)
          if call('ZSCORE', base .. 'failed', id) then return end
          call('HSET', parentKey, 'defa', 'child ' .. childKey .. ' failed')
          if call('ZREM', base .. 'delayed', id) == 1 then
            call('HSET', parentKey, 'delay', 0)
            local priority = whole(call('HGET', parentKey, 'priority'))
            ready(q, id, priority, priority == 0)
            tell(q, 'waiting', 'jobId', id, 'prev', 'delayed')
          else
            leaveChildren(parentKey)
          end
        end

        local function childFailed(parentKey, parent, childKey, reason)
          local fails, goesOn = hasFlag(parent, 'fpof'), hasFlag(parent, 'cpof')
          local ignores, forgets = hasFlag(parent, 'idof'), hasFlag(parent, 'rdof')
          if not (fails or goesOn or ignores or forgets) then return end
          local open = parentKey .. ':dependencies'
          if call('SREM', open, childKey) == 0 then return end
          if fails then return failParent(parentKey, childKey) end
          if goesOn or ignores then call('HSET', parentKey .. ':failed', childKey, reason) end
          if goesOn or call('SCARD', open) == 0 then leaveChildren(parentKey) end
        end

        -- A child that goes away no longer holds its parent up.
        local function detach(parentKey, childKey)
          if not parentKey or parentKey == '' then return end
          local open = parentKey .. ':dependencies'
          if call('SREM', open, childKey) == 1 and call('SCARD', open) == 0 then
            leaveChildren(parentKey)
          end
        end

        local function deleteJob(key)
          call('DEL', key, key .. ':logs', key .. ':dependencies', key .. ':processed',
            key .. ':failed', key .. ':unsuccessful')
        end

        -- Frees the deduplication id of a job that is removed.
        local function forgetDuplicate(q, id, dedup)
          if not dedup then return end
          local owner = q.base .. 'de:' .. dedup
          if call('GET', owner) == id then call('DEL', owner, q.base .. 'dn:' .. dedup) end
        end

        """

    /// Writing new jobs.
    static let jobs = """
        -- Writes a job and puts it in its place. `job`: name, data, opts, timestamp, delay,
        -- priority, isFirst, hasChildren, dedup, parentKey, parent, scheduler.
        local function insert(q, id, job)
          local key = q.base .. id
          local fields = {'name', job.name, 'data', job.data, 'opts', job.opts,
            'timestamp', job.timestamp, 'delay', job.delay, 'priority', job.priority}
          local function field(name, value)
            if value and value ~= '' then
              fields[#fields + 1] = name
              fields[#fields + 1] = value
            end
          end
          field('parentKey', job.parentKey)
          field('parent', job.parent)
          field('rjk', job.scheduler)
          field('deid', job.dedup)
          call('HSET', key, unpack(fields))
          tell(q, 'added', 'jobId', id, 'name', job.name)
          local delay, priority = whole(job.delay), whole(job.priority)
          if job.hasChildren then
            call('ZADD', q.base .. 'waiting-children', whole(job.timestamp), id)
            tell(q, 'waiting-children', 'jobId', id)
          elseif delay > 0 then
            local due = whole(job.timestamp) + delay
            later(q, id, due)
            tell(q, 'delayed', 'jobId', id, 'delay', string.format('%.0f', due))
          else
            ready(q, id, priority, job.isFirst and priority == 0)
            tell(q, 'waiting', 'jobId', id)
          end
          if job.parentKey and job.parentKey ~= '' then
            call('SADD', job.parentKey .. ':dependencies', key)
          end
        end

        -- Ends a deduplication with the job that owns it, and adds what came meanwhile.
        local function endDuplicates(q, id, dedup)
          if not dedup then return end
          local owner, next = q.base .. 'de:' .. dedup, q.base .. 'dn:' .. dedup
          if call('PTTL', owner) == -1 and call('GET', owner) == id then call('DEL', owner) end
          if not isHash(next) then return end
          local kept = call('HMGET', next, 'name', 'data', 'opts', 'jid', 'pk', 'pd', 'rjk')
          local counter = call('INCR', q.base .. 'id')
          local newID = kept[4] or string.format('%.0f', counter)
          call('DEL', next)
          call('SET', owner, newID)
          local isRead, opts = pcall(cjson.decode, kept[3] or '{}')
          if not isRead or type(opts) ~= 'table' then opts = {} end
          insert(q, newID, {name = kept[1] or '', data = kept[2] or '{}', opts = kept[3] or '{}',
            timestamp = now, delay = whole(opts.delay), priority = whole(opts.priority),
            isFirst = opts.lifo == true, dedup = dedup, parentKey = kept[5], parent = kept[6],
            scheduler = kept[7]})
        end

        """
}
