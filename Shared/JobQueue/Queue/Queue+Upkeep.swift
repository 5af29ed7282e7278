internal import EventLoop
internal import RedisClient

/// What workers do for a queue as a whole.
extension Queue {
    /// The counter's value that no limit allows; exact in a double.
    private static let limitReached: Int64 = (1 << 53) - 1

    /// Finds active jobs that nobody holds and puts them back to the front.
    ///
    /// A job is found at the second check after its lock ended. All workers may call this; once an
    /// interval one of the calls does something.
    ///
    /// - Parameter lossesMax: how often a job may be lost; then it fails at its next fetch.
    /// - Returns: their ids.
    public func recoverStalled(
        interval: Duration,
        lossesMax: Int
    ) async throws(JobQueueError) -> [String] {
        let arguments: [RedisArgument] = [
            .int(Int64(lossesMax)), .int(max(1, interval.milliseconds)),
        ]
        let answer = try await run(LockScripts.recoverStalled, arguments)
        return (answer.array ?? []).map { String(decoding: $0.bytes ?? [], as: UTF8.self) }
    }

    /// Lets no worker begin a job for so many ms; has an effect where a limit is set.
    public func limit(for wait: Int64) async throws(JobQueueError) {
        let key = RedisArgument.string(keys.key("limiter"))
        _ = try await send(["SET", key, .int(Queue.limitReached), "PX", .int(max(1, wait))])
    }

    /// Whether a job waits to be taken now.
    func hasReady() async throws(JobQueueError) -> Bool {
        let keys: [RedisArgument] = [
            .string(self.keys.key("wait")), .string(self.keys.key("prioritized")),
        ]
        return try await send(["EXISTS"] + keys).integer ?? 0 > 0
    }

    /// Wakes a sleeping worker, if there is a job for it.
    func wakeWorker() async throws(JobQueueError) {
        guard try await hasReady() else { return }
        _ = try await send(["ZADD", .string(keys.key("marker")), "0", "0"])
    }
}
