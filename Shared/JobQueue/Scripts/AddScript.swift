internal import RedisClient

/// Adds jobs to one queue or several, all of them or (after an error) none.
enum AddScript {
    /// How many arguments each job has.
    static let jobArity = 15

    /// KEYS: the bases of the queues.
    ///
    /// ARGV: the header; then for each job: the number of its queue among KEYS, id (empty: the
    /// counter's), name, data, opts, timestamp, delay, priority, flags, deduplication id, its time
    /// to live in ms (0: none), key of the parent, parent field, scheduler, how many jobs may wait (0: any number). Flags are letters: `l`
    /// last in first out, `c` waits for children; for deduplication `e` extend, `r` replace, `k`
    /// keep the last while active.
    ///
    /// Returns for each job the id, which is another job's where that one stands for it, or -5 (no
    /// such parent), -7 (it has another parent) or -20 (too many wait).
    static let script = RedisScript(
        Lua.queues + Lua.families + Lua.jobs + body,
        name: "queue-add"
    )

    private static let body = """
        -- A job with this id is there: it may become the child of the given parent.
        local function adopt(q, id, key, parentKey, parent)
          if parentKey ~= '' then
            local old = call('HGET', key, 'parentKey')
            if old and old ~= parentKey and isHash(old) then return -7 end
            local value = call('HGET', key, 'returnvalue')
            call('SADD', parentKey .. ':dependencies', key)
            call('HSET', key, 'parentKey', parentKey, 'parent', parent)
            if call('ZSCORE', q.base .. 'completed', id) then
              childCompleted(parentKey, key, value or 'null')
            end
          end
          tell(q, 'duplicated', 'jobId', id)
          return id
        end

        local function own(owner, id, ttl)
          if ttl > 0 then call('SET', owner, id, 'PX', ttl) else call('SET', owner, id) end
        end

        -- Deduplication: the id of the job that stands for this one, or nil.
        local function standIn(q, id, job, flags, ttl)
          local owner = q.base .. 'de:' .. job.dedup
          local keepsLast = string.find(flags, 'k', 1, true)
          if keepsLast then ttl = 0 end
          local current = call('GET', owner)
          -- The owner's job may be gone without having freed the id.
          if current and call('PTTL', owner) == -1 and not isHash(q.base .. current) then
            call('DEL', owner, q.base .. 'dn:' .. job.dedup)
            current = false
          end
          if not current then
            own(owner, id, ttl)
            return nil
          end
          local isExtended = string.find(flags, 'e', 1, true)
          if keepsLast and call('LPOS', q.base .. 'active', current) then
            local next = q.base .. 'dn:' .. job.dedup
            call('DEL', next)
            call('HSET', next, 'name', job.name, 'data', job.data, 'opts', job.opts, 'jid', id)
            if job.parentKey ~= '' then
              call('HSET', next, 'pk', job.parentKey, 'pd', job.parent,
                'pdk', job.parentKey .. ':dependencies')
            end
            if job.scheduler ~= '' then call('HSET', next, 'rjk', job.scheduler) end
            call('PERSIST', owner)
          elseif string.find(flags, 'r', 1, true) then
            if call('ZREM', q.base .. 'delayed', current) == 0 then return current end
            deleteJob(q.base .. current)
            tell(q, 'removed', 'jobId', current, 'prev', 'delayed')
            tell(q, 'deduplicated', 'jobId', id, 'deduplicationId', job.dedup,
              'deduplicatedJobId', current)
            if isExtended or ttl == 0 then
              own(owner, id, ttl)
            else
              call('SET', owner, id, 'KEEPTTL')
            end
            return nil
          elseif isExtended then
            own(owner, current, ttl)
          end
          tell(q, 'deduplicated', 'jobId', current, 'deduplicationId', job.dedup,
            'deduplicatedJobId', id)
          return current
        end

        local function add(a)
          local q = open(KEYS[tonumber(ARGV[a])])
          local parentKey = ARGV[a + 11]
          if parentKey ~= '' and not isHash(parentKey) then return -5 end
          local most = tonumber(ARGV[a + 14])
          if most > 0 and call('LLEN', q.list) + call('ZCARD', q.base .. 'prioritized') +
            call('ZCARD', q.base .. 'delayed') >= most then
            return -20
          end
          local id, flags = ARGV[a + 1], ARGV[a + 8]
          local counter = call('INCR', q.base .. 'id')
          if not q.hasSetting then
            call('HSET', q.base .. 'meta', 'opts.maxLenEvents', q.kept)
            q.hasSetting = true
          end
          if id == '' then id = string.format('%.0f', counter) end
          local key = q.base .. id
          if call('EXISTS', key) == 1 then return adopt(q, id, key, parentKey, ARGV[a + 12]) end
          local job = {name = ARGV[a + 2], data = ARGV[a + 3], opts = ARGV[a + 4],
            timestamp = ARGV[a + 5], delay = ARGV[a + 6], priority = ARGV[a + 7],
            isFirst = string.find(flags, 'l', 1, true),
            hasChildren = string.find(flags, 'c', 1, true),
            dedup = ARGV[a + 9], parentKey = parentKey, parent = ARGV[a + 12],
            scheduler = ARGV[a + 13]}
          if job.dedup ~= '' then
            local other = standIn(q, id, job, flags, tonumber(ARGV[a + 10]))
            if other then return other end
          end
          insert(q, id, job)
          return id
        end

        local ids = {}
        for a = 4, #ARGV, 15 do ids[#ids + 1] = add(a) end
        settle()
        return ids
        """
}
