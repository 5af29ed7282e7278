internal import RedisClient

/// What a queue holds.
extension Queue {
    /// How many rounds a page is filled up in when jobs of listed ids are gone.
    private static let pageRounds = 4

    /// How many jobs are in each state.
    public func counts() async throws(JobQueueError) -> [JobState: Int] {
        let states = JobState.all
        let commands: [[RedisArgument]] = states.map { state in
            [state.isList ? "LLEN" : "ZCARD", .string(keys.key(state.key ?? ""))]
        }
        let answers = try await pipeline(commands)
        var counts: [JobState: Int] = [:]
        for (state, answer) in zip(states, answers) { counts[state] = Int(answer.integer ?? 0) }
        return counts
    }

    /// When the oldest job that is ready was made, in ms since 1970; nil when none is ready.
    public func oldestReady() async throws(JobQueueError) -> Int64? {
        var oldest: Int64?
        for state in [JobState.waiting, .prioritized] {
            guard let job = try await jobs(state, from: 0, count: 1).first else { continue }
            oldest = min(oldest ?? job.timestamp, job.timestamp)
        }
        return oldest
    }

    /// The jobs of one state: completed and failed ones newest first, all others oldest first.
    ///
    /// Ids without a job are left out.
    public func jobs(
        _ state: JobState,
        from offset: Int = 0,
        count: Int = 100
    ) async throws(JobQueueError) -> [Job] {
        var found: [Job] = []
        var next = offset
        for _ in 0..<Queue.pageRounds where found.count < count {
            let wanted = count - found.count
            let ids = try await ids(state, from: next, count: wanted)
            next += ids.count
            let answers = try await pipeline(ids.map { ["HGETALL", .string(keys.job($0))] })
            for (id, answer) in zip(ids, answers) where !answer.pairs.isEmpty {
                found.append(Job(id: id, fields: answer))
            }
            if ids.count < wanted { break }
        }
        return found
    }

    /// The ids of one state, in the order of ``jobs(_:from:count:)``.
    public func ids(
        _ state: JobState,
        from offset: Int = 0,
        count: Int = 100
    ) async throws(JobQueueError) -> [String] {
        guard let place = state.key, count > 0, offset >= 0 else { return [] }
        let key = RedisArgument.string(keys.key(place))
        let (first, last) = (Int64(offset), Int64(offset + count - 1))
        let command: [RedisArgument] =
            if state.isList {
                ["LRANGE", key, .int(-last - 1), .int(-first - 1)]
            } else {
                [state.isNewestFirst ? "ZREVRANGE" : "ZRANGE", key, .int(first), .int(last)]
            }
        let ids = (try await send(command).array ?? []).map {
            String(decoding: $0.bytes ?? [], as: UTF8.self)
        }
        return state.isList ? ids.reversed() : ids
    }

    /// The jobs per minute of the last minutes, newest first, and how many there were ever.
    public struct Metrics: Sendable, Hashable {
        /// How many jobs ended so while metrics were kept.
        public let count: Int
        /// How many in each minute, the newest first.
        public let minutes: [Int]
    }

    /// The metrics of completed or failed jobs.
    public func metrics(_ state: JobState) async throws(JobQueueError) -> Metrics {
        let key = keys.key("metrics:\(state.rawValue)")
        let answers = try await pipeline([
            ["HGET", .string(key), "count"], ["LRANGE", .string(key + ":data"), "0", "-1"],
        ])
        return Metrics(
            count: Int(answers[0].integer ?? 0),
            minutes: (answers[1].array ?? []).map { Int($0.integer ?? 0) }
        )
    }

    /// What became of a job's children: keys of jobs and the JSON text that each returned.
    public func childValues(of id: String) async throws(JobQueueError) -> [String: String] {
        let answer = try await send(["HGETALL", .string(keys.job(id) + ":processed")])
        var values: [String: String] = [:]
        for (key, value) in answer.pairs {
            if let key = key.text { values[key] = value.text ?? "null" }
        }
        return values
    }

    func pipeline(_ commands: [[RedisArgument]]) async throws(JobQueueError) -> [RedisValue] {
        do { return try await redis.pipeline(commands, within: Queue.callLimit) } catch {
            throw JobQueueError(error)
        }
    }
}
