internal import RedisClient

/// Keeping jobs, and finding those whose worker lost them.
enum LockScripts {
    /// Renews locks.
    ///
    /// KEYS[1]: the queue's base. ARGV: the header; lock in ms; then id and token of each job.
    ///
    /// Returns the ids whose lock was not extended, as another has it or nobody.
    static let extend = RedisScript(
        """
        local lost = {}
        for a = 5, #ARGV, 2 do
          local lock = KEYS[1] .. ARGV[a] .. ':lock'
          local owner = redis.pcall('GET', lock)
          if owner == ARGV[a + 1] then
            redis.call('SET', lock, owner, 'PX', ARGV[4])
            redis.call('SREM', KEYS[1] .. 'stalled', ARGV[a])
          else
            lost[#lost + 1] = ARGV[a]
          end
        end
        return lost
        """,
        name: "queue-extend"
    )

    /// Finds jobs that nobody holds.
    ///
    /// KEYS[1]: the queue's base. ARGV: the header; how often a job may be lost; the interval in ms.
    ///
    /// What was active without a lock at the last check and still is goes back to the front. Returns
    /// the ids of those, or nothing when another worker has checked within the interval.
    static let recoverStalled = RedisScript(
        Lua.queues + """
            local q = open(KEYS[1])
            if not call('SET', q.base .. 'stalled-check', ARGV[1], 'PX', ARGV[5], 'NX') then
              return {}
            end
            local active, stalled = q.base .. 'active', q.base .. 'stalled'
            local suspects = call('SMEMBERS', stalled)
            call('DEL', stalled)
            local recovered = {}
            for _, id in ipairs(suspects) do
              local key = q.base .. id
              if call('EXISTS', key .. ':lock') == 0 and call('LREM', active, 1, id) > 0 and
                isHash(key) then
                local scheduler = call('HGET', key, 'rjk')
                local isLive = scheduler and call('ZSCORE', q.base .. 'repeat', scheduler)
                if bump(key, 'stc') > tonumber(ARGV[4]) and not isLive then
                  call('HSET', key, 'defa', 'job stalled more than allowable limit')
                end
                call('RPUSH', q.list, id)
                q.hasReady = true
                tell(q, 'waiting', 'jobId', id, 'prev', 'active')
                tell(q, 'stalled', 'jobId', id)
                recovered[#recovered + 1] = id
              end
            end
            local ids = call('LRANGE', active, 0, -1)
            for from = 1, #ids, 7000 do
              call('SADD', stalled, unpack(ids, from, math.min(from + 6999, #ids)))
            end
            settle()
            return recovered
            """,
        name: "queue-recover-stalled"
    )
}
