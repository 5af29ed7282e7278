public import JSON
internal import RedisClient

/// Single jobs, by id.
extension Queue {
    /// The job; nil when it is not there.
    public func job(_ id: String) async throws(JobQueueError) -> Job? {
        let fields = try await send(["HGETALL", .string(keys.job(id))])
        return fields.pairs.isEmpty ? nil : Job(id: id, fields: fields)
    }

    /// Where a job is.
    public func state(of id: String) async throws(JobQueueError) -> JobState {
        let answer = try await run(JobScripts.state, [.string(id)])
        return answer.text.flatMap { JobState(rawValue: $0) } ?? .unknown
    }

    /// Replaces the data of a job.
    ///
    /// - Parameter data: JSON text, stored as it is.
    public func setData(of id: String, to data: String) async throws(JobQueueError) {
        guard !data.isEmpty else { throw JobQueueError(.invalid, "the data is empty, not JSON") }
        try await change(JobScripts.setField, id, ["data", .string(data)])
    }

    /// Tells how far a job got: a number, a string, a truth value or an object.
    public func setProgress(of id: String, to progress: JSON) async throws(JobQueueError) {
        try await change(JobScripts.setField, id, ["progress", .string(progress.text)])
    }

    /// Adds a line to a job's log.
    ///
    /// - Parameter count: how many lines stay, the oldest go first; nil for all.
    /// - Returns: how many lines there are.
    @discardableResult
    public func log(
        _ line: String,
        of id: String,
        keeping count: Int? = nil
    ) async throws(JobQueueError) -> Int {
        Int(try await change(JobScripts.log, id, [.string(line), .int(Int64(count ?? 0))]))
    }

    /// The lines of a job's log, oldest first.
    public func logs(of id: String) async throws(JobQueueError) -> [String] {
        let lines = try await send(["LRANGE", .string(keys.job(id) + ":logs"), "0", "-1"])
        return (lines.array ?? []).map { String(decoding: $0.bytes ?? [], as: UTF8.self) }
    }

    /// Lets a delayed job run now.
    public func promote(_ id: String) async throws(JobQueueError) {
        try await change(JobScripts.promote, id, [])
    }

    /// Puts a delayed job off anew, by so many ms from now.
    public func setDelay(of id: String, to delay: Int64) async throws(JobQueueError) {
        try await change(JobScripts.setDelay, id, [.int(max(0, delay))])
    }

    /// Gives a job another priority; its place in the new one is the last, or the first if asked.
    public func setPriority(
        of id: String,
        to priority: Int,
        isFirst: Bool = false
    ) async throws(JobQueueError) {
        guard (0...Score.priorityMax).contains(priority) else {
            throw JobQueueError(.invalid, "the priority \(priority) is out of range")
        }
        let arguments: [RedisArgument] = [.int(Int64(priority)), isFirst ? "1" : "0"]
        try await change(JobScripts.setPriority, id, arguments)
    }

    /// Lets a finished job run again.
    ///
    /// - Parameter isFresh: whether its attempts count anew.
    public func retry(_ id: String, isFresh: Bool = false) async throws(JobQueueError) {
        try await change(JobScripts.retry, id, [isFresh ? "1" : "0"])
    }

    /// Removes a job and, unless told otherwise, its children.
    ///
    /// - Returns: false when it, or one of its children, is being worked on.
    @discardableResult
    public func remove(
        _ id: String,
        withChildren: Bool = true
    ) async throws(JobQueueError) -> Bool {
        try await change(JobScripts.remove, id, [withChildren ? "1" : "0"]) == 1
    }

    /// Moves a held job to where it waits for its children.
    ///
    /// - Returns: false when there is none to wait for.
    func waitForChildren(_ id: String, token: String) async throws(JobQueueError) -> Bool {
        try await change(JobScripts.waitForChildren, id, [.string(token)]) == 0
    }

    /// Runs a script on one job and turns its negative answers into errors.
    @discardableResult
    func change(
        _ script: RedisScript,
        _ id: String,
        _ arguments: [RedisArgument]
    ) async throws(JobQueueError) -> Int64 {
        let answer = try await run(script, [.string(id)] + arguments)
        guard let number = answer.integer else {
            throw JobQueueError(.oddAnswer, "\(script.name) answered \(answer)")
        }
        if number < 0 { throw JobQueueError(answer: number, job: id) }
        return number
    }
}
