internal import EventLoop
internal import JSON
internal import RedisClient

/// Job schedulers.
extension Queue {
    /// Makes a scheduler, or replaces the one with its id, and plans its next run.
    ///
    /// - Returns: the run's id; nil when its limit or end leaves none.
    @discardableResult
    public func upsert(_ scheduler: JobScheduler) async throws(JobQueueError) -> String? {
        let now = WallClock.milliseconds()
        try check(scheduler)
        if let end = scheduler.endDate, now > end { return nil }
        if let limit = scheduler.limit, limit < 1 { return nil }
        let time = try scheduler.patternTime(after: now)
        if case .pattern = scheduler.timing, time == nil { return nil }
        var every = RedisArgument.string("")
        var offset = RedisArgument.string("")
        if case .every(let interval, let shift) = scheduler.timing {
            every = .int(interval)
            if let shift { offset = .int(shift) }
        }
        let options = scheduler.options
        var arguments: [RedisArgument] = [
            .string(scheduler.id), .string(scheduler.name), .string(scheduler.data),
            .string(JSON.object(options.json).text),
            .string(Queue.openOptions(scheduler, count: 1)), .string(Queue.openRunID(scheduler.id)),
            every, offset, time.map { .int($0) } ?? .string(""),
            .int(Int64(options.priority)), options.isLIFO ? "1" : "0",
        ]
        if case .pattern(let pattern, let zone) = scheduler.timing {
            arguments += ["pattern", .string(pattern)]
            if let zone { arguments += ["tz", .string(zone)] }
        }
        if let limit = scheduler.limit { arguments += ["limit", .int(Int64(limit))] }
        if let start = scheduler.startDate { arguments += ["startDate", .int(start)] }
        if let end = scheduler.endDate { arguments += ["endDate", .int(end)] }
        let answer = try await run(SchedulerScripts.upsert, arguments)
        if let code = answer.integer { throw JobQueueError(answer: code, job: scheduler.id) }
        return answer.array?.first?.text
    }

    private func check(_ scheduler: JobScheduler) throws(JobQueueError) {
        if scheduler.id.isEmpty { throw JobQueueError(.invalid, "the scheduler's id is empty") }
        if case .every(let interval, _) = scheduler.timing, interval < 1 {
            throw JobQueueError(.invalid, "the interval \(interval) is not above 0")
        }
        if let fault = scheduler.options.fault(data: scheduler.data, hasParent: false) {
            throw JobQueueError(.invalid, fault)
        }
    }

    /// The scheduler; nil when there is none.
    public func scheduler(_ id: String) async throws(JobQueueError) -> JobScheduler? {
        let answers = try await pipeline([
            ["HGETALL", .string(keys.key("repeat:\(id)"))],
            ["ZSCORE", .string(keys.key("repeat")), .string(id)],
        ])
        let next = answers[1].text.flatMap { Double($0) }.map { Score.due(ofMarker: $0) }
        return JobScheduler(id: id, fields: answers[0], next: next)
    }

    /// The schedulers, the next to run first.
    ///
    /// What old clients call repeatable jobs is left out: they have no scheduler.
    public func schedulers(
        from offset: Int = 0,
        count: Int = 100
    ) async throws(JobQueueError) -> [JobScheduler] {
        let ids = try await send([
            "ZRANGE", .string(keys.key("repeat")), .int(Int64(offset)),
            .int(Int64(offset + count - 1)),
        ])
        var found: [JobScheduler] = []
        for id in (ids.array ?? []).compactMap(\.text) {
            if let scheduler = try await scheduler(id) { found.append(scheduler) }
        }
        return found
    }

    /// Removes a scheduler and its planned run.
    ///
    /// - Returns: false when there is none.
    @discardableResult
    public func removeScheduler(_ id: String) async throws(JobQueueError) -> Bool {
        try await run(SchedulerScripts.remove, [.string(id)]).integer == 0
    }

    /// Plans the run after `job`, which its scheduler has made and a worker has just taken.
    func advanceScheduler(of job: Job) async throws(JobQueueError) {
        guard let id = job.scheduler, let scheduler = try await scheduler(id) else { return }
        let now = WallClock.milliseconds()
        let made = job.options?.others["repeat"]?["count"]?.intValue ?? 1
        let count = Int(clamping: made) + 1
        if let limit = scheduler.limit, count > limit { return }
        if let end = scheduler.endDate, now > end { return }
        let previous = job.options?.others["prevMillis"]?.intValue ?? 0
        let time = try scheduler.patternTime(after: max(now, previous))
        _ = try await run(
            SchedulerScripts.advance,
            [
                .string(id), .string(job.id), .string(Queue.openOptions(scheduler, count: count)),
                .string(Queue.openRunID(id)), time.map { .int($0) } ?? .string(""),
                .int(Int64(scheduler.options.priority)), scheduler.options.isLIFO ? "1" : "0",
            ]
        )
    }

    /// A run's options without what depends on its time, and without the closing brace.
    private static func openOptions(_ scheduler: JobScheduler, count: Int) -> String {
        var object = scheduler.options.json
        object["delay"] = nil
        object["jobId"] = nil
        object["timestamp"] = .int(WallClock.milliseconds())
        object["repeatJobKey"] = .string(scheduler.id)
        object["repeat"] = scheduler.repeatMember(count: count)
        return String(JSON.object(object).text.dropLast())
    }

    /// The JSON string of a run's id, up to its time.
    private static func openRunID(_ scheduler: String) -> String {
        String(JSON.string("repeat:\(scheduler):").text.dropLast())
    }
}
