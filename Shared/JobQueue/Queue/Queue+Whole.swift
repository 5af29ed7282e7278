internal import EventLoop
internal import RedisClient

/// The queue as a whole: its limits, and emptying it.
extension Queue {
    /// Is told during long work how many jobs were handled so far.
    public typealias ProgressReport = @LoopActor (Int) -> Void

    /// Sets how many jobs may be active at once in all workers together; nil for any number.
    public func setConcurrency(_ count: Int?) async throws(JobQueueError) {
        try await set("concurrency", count.map { Int64($0) })
    }

    /// Sets how many jobs all workers together begin in a time; nil for no limit.
    public func setLimit(_ limit: WorkerConfiguration.Limit?) async throws(JobQueueError) {
        try await set("max", limit.map { Int64($0.count) })
        try await set("duration", limit?.window)
    }

    private func set(_ field: String, _ value: Int64?) async throws(JobQueueError) {
        let meta = RedisArgument.string(keys.key("meta"))
        if let value {
            _ = try await send(["HSET", meta, .string(field), .int(value)])
        } else {
            _ = try await send(["HDEL", meta, .string(field)])
        }
    }

    // MARK: Moving and emptying

    /// Lets all finished jobs of one kind run again that finished by `time` (ms since 1970).
    ///
    /// - Returns: how many.
    @discardableResult
    public func retryAll(
        _ state: JobState = .failed,
        until time: Int64? = nil,
        progress: ProgressReport = { _ in }
    ) async throws(JobQueueError) -> Int {
        guard state == .failed || state == .completed else {
            throw JobQueueError(.invalid, "only failed and completed jobs run again")
        }
        let limit = time ?? WallClock.milliseconds()
        return try await inParts(QueueScripts.retrySome, progress) { part in
            [.string(state.rawValue), .int(limit), .int(part)]
        }
    }

    /// Lets all delayed jobs run now, in the order of their times; priorities do not count.
    ///
    /// - Returns: how many.
    @discardableResult
    public func promoteAll(
        progress: ProgressReport = { _ in }
    ) async throws(JobQueueError) -> Int {
        try await inParts(QueueScripts.promoteSome, progress) { [.int($0)] }
    }

    /// Deletes the jobs that wait to run, and the delayed ones if asked.
    ///
    /// Schedulers keep their planned runs.
    ///
    /// - Returns: how many.
    @discardableResult
    public func drain(
        delayed: Bool = false,
        progress: ProgressReport = { _ in }
    ) async throws(JobQueueError) -> Int {
        var count = 0
        for place in ["wait", "paused", "prioritized"] + (delayed ? ["delayed"] : []) {
            let sofar = count
            count += try await removeAll(of: place, report: { progress(sofar + $0) }).count
        }
        return count
    }

    /// Deletes the jobs of one state that are older than `grace` ms, oldest first.
    ///
    /// Active jobs go only when no worker holds them. What counts is when a job finished, was begun
    /// or was made, the first of these that is known.
    ///
    /// - Parameter count: how many at most; 0 for all.
    /// - Returns: their ids.
    @discardableResult
    public func clean(
        _ state: JobState,
        grace: Int64,
        count: Int = 0,
        progress: ProgressReport = { _ in }
    ) async throws(JobQueueError) -> [String] {
        guard let place = state.key, state != .waitingChildren else {
            throw JobQueueError(.invalid, "jobs in the state \(state.rawValue) cannot be cleaned")
        }
        var ids: [String] = []
        for place in place == "wait" ? ["wait", "paused"] : [place] {
            let left = count == 0 ? Int.max : count - ids.count
            let sofar = ids.count
            ids += try await removeAll(
                of: place,
                madeBy: WallClock.milliseconds() - grace,
                count: left,
                report: { progress(sofar + $0) }
            )
        }
        _ = try await run(QueueScripts.cleaned, [.int(Int64(ids.count))])
        return ids
    }

    /// Deletes the queue with all that it has; it must be paused, which this does first.
    ///
    /// - Parameter isForced: whether active jobs go too.
    /// - Returns: how many jobs went.
    @discardableResult
    public func obliterate(
        isForced: Bool = false,
        progress: ProgressReport = { _ in }
    ) async throws(JobQueueError) -> Int {
        try await pause()
        var count = 0
        while true {
            let answer = try await run(
                QueueScripts.obliterate,
                [.int(Int64(QueueScripts.partMax)), isForced ? "1" : "0"]
            ).array
            count += Int(answer?.last?.integer ?? 0)
            progress(count)
            switch answer?.first?.integer {
            case 1: continue
            case 0: return count
            case -2: throw JobQueueError(.notQuiet, "the queue has active jobs")
            case -1: throw JobQueueError(.notQuiet, "somebody resumed the queue meanwhile")
            default: throw JobQueueError(.oddAnswer, "obliterate answered \(answer ?? [])")
            }
        }
    }

    // MARK: In parts

    private func removeAll(
        of place: String,
        madeBy limit: Int64? = nil,
        count: Int = .max,
        report: ProgressReport
    ) async throws(JobQueueError) -> [String] {
        var ids: [String] = []
        var kept: Int64 = 0
        while ids.count < count {
            let part = min(QueueScripts.partMax, count - ids.count)
            let answer = try await run(
                QueueScripts.removeSome,
                [
                    .string(place), .int(kept), .int(Int64(part)),
                    limit.map { .int($0) } ?? .string(""),
                ]
            ).array
            guard let answer, answer.count == 3, let seen = answer[0].integer,
                let keptNow = answer[1].integer
            else { throw JobQueueError(.oddAnswer, "removing answered \(answer ?? [])") }
            ids += (answer[2].array ?? []).map { String(decoding: $0.bytes ?? [], as: UTF8.self) }
            kept += keptNow
            report(ids.count)
            if seen == 0 { break }
        }
        return ids
    }

    private func inParts(
        _ script: RedisScript,
        _ progress: ProgressReport,
        _ arguments: (Int64) -> [RedisArgument]
    ) async throws(JobQueueError) -> Int {
        var count = 0
        while true {
            let answer = try await run(script, arguments(Int64(QueueScripts.partMax))).array
            count += Int(answer?.last?.integer ?? 0)
            progress(count)
            if answer?.first?.integer != 1 { return count }
        }
    }

    func number(
        _ script: RedisScript,
        _ arguments: [RedisArgument]
    ) async throws(JobQueueError) -> Int64 {
        try await run(script, arguments).integer ?? 0
    }
}
