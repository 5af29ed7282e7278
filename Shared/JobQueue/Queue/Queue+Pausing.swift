internal import EventLoop
internal import RedisClient

/// Why a queue is paused, by whom, and for how long.
public struct QueuePause: Sendable, Hashable {
    /// Why.
    public var reason: String?
    /// Who did it.
    public var author: String?
    /// When it ends by itself, in ms since 1970; nil when somebody must end it.
    public var until: Int64?
    /// When it began, in ms since 1970; peers do not say.
    public internal(set) var since: Int64?

    /// A pause from now on.
    public init(reason: String? = nil, author: String? = nil, until: Int64? = nil) {
        self.reason = reason
        self.author = author
        self.until = until
    }
}

extension Queue {
    /// Lets no worker begin a job; jobs may still be added.
    ///
    /// A pause with an end is lifted by the first worker of this library that asks for jobs after
    /// it; peers alone do not end it, as they know of no such thing.
    public func pause(_ pause: QueuePause = QueuePause()) async throws(JobQueueError) {
        if let until = pause.until, until <= WallClock.milliseconds() {
            throw JobQueueError(.invalid, "the pause would have ended already")
        }
        let arguments: [RedisArgument] = [
            .string(pause.reason ?? ""), .string(pause.author ?? ""),
            pause.until.map { .int($0) } ?? "",
        ]
        while try await number(QueueScripts.pause, arguments) == 1 {}
    }

    /// Lets workers go on; jobs in an older client's list of paused ones come first.
    public func resume() async throws(JobQueueError) {
        while try await number(QueueScripts.resume, []) == 1 {}
    }

    /// Whether workers begin no jobs.
    public func isPaused() async throws(JobQueueError) -> Bool { try await pauseNow() != nil }

    /// The pause that holds now; nil when there is none, or its end has passed.
    public func pauseNow() async throws(JobQueueError) -> QueuePause? {
        let values =
            try await send([
                "HMGET", .string(keys.key("meta")), "paused", "pausedReason", "pausedBy",
                "pausedUntil", "pausedAt",
            ]).array ?? []
        guard values.count == 5, !values[0].isNull else { return nil }
        var pause = QueuePause(
            reason: values[1].text,
            author: values[2].text,
            until: values[3].integer
        )
        pause.since = values[4].integer
        if let until = pause.until, until <= WallClock.milliseconds() { return nil }
        return pause
    }
}
