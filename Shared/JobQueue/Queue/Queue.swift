public import EventLoop
internal import JSON
public import RedisClient

/// A queue in Redis, as BullMQ lays it out: for adding jobs, looking at them and running it.
///
/// It holds no state beside its settings; any number of them may stand for one queue.
@LoopActor
public final class Queue {
    /// How one queue is used.
    public struct Settings: Sendable, Hashable {
        /// How many events a queue keeps that says nothing itself; about 100 bytes each.
        public var eventsMax = 10_000
        /// Whether clients of version 5 share the queue: its paused jobs then lie in a list of their
        /// own, which those clients expect.
        public var usesPausedList = false

        /// The settings that peers have too.
        public init() {}
    }

    /// How many jobs one call of the adding script takes: some milliseconds of the server.
    static let additionsMax = 200
    /// How many bytes of data one such call takes at most, unless one job alone has more.
    static let additionBytesMax = 1 << 20
    /// How long a call may take; the server runs scripts one after the other.
    static let callLimit: Duration = .seconds(5)

    /// Where it is.
    public let keys: QueueKeys
    /// How it is used.
    public let settings: Settings
    let redis: RedisClient

    /// The queue with these keys, over a client that somebody else starts and stops.
    public init(_ keys: QueueKeys, redis: RedisClient, settings: Settings = Settings()) {
        self.keys = keys
        self.redis = redis
        self.settings = settings
    }

    // MARK: Adding

    /// Adds a job.
    ///
    /// - Parameter parent: the job that waits for it.
    /// - Returns: its id, or the id of the job that stands for it: one with the same id, or with the
    ///   same deduplication id.
    @discardableResult
    public func add(
        _ job: NewJob,
        parent: ParentReference? = nil
    ) async throws(JobQueueError) -> String {
        try await submit([Addition(keys: keys, job: job, parent: parent)])[0]
    }

    /// Adds jobs in their order, some hundred in one step.
    ///
    /// - Parameter waitingMax: how many jobs may wait in the queue; 0 for any number.
    /// - Returns: an id for each, as ``add(_:parent:)`` does.
    /// - Throws: what is wrong with one of them, before any is added; or why Redis failed, or
    ///   ``JobQueueError/Code/backlogFull``, when those before may have been added.
    @discardableResult
    public func add(
        contentsOf jobs: [NewJob],
        waitingMax: Int = 0
    ) async throws(JobQueueError) -> [String] {
        try await submit(jobs.map { Addition(keys: keys, job: $0, waitingMax: waitingMax) })
    }

    func submit(_ additions: [Addition]) async throws(JobQueueError) -> [String] {
        for addition in additions { try addition.check() }
        var ids: [String] = []
        ids.reserveCapacity(additions.count)
        var rest = additions[...]
        while !rest.isEmpty {
            let count = Queue.callSize(rest)
            ids += try await submitTogether(rest.prefix(count))
            rest = rest.dropFirst(count)
        }
        return ids
    }

    private static func callSize(_ additions: ArraySlice<Addition>) -> Int {
        var bytes = 0
        for (count, addition) in additions.prefix(additionsMax).enumerated() {
            bytes += addition.job.data.utf8.count
            if count > 0 && bytes > additionBytesMax { return count }
        }
        return min(additions.count, additionsMax)
    }

    /// Adds them in one step: all, or after an error of the server none.
    func submitTogether(
        _ additions: ArraySlice<Addition>
    ) async throws(JobQueueError) -> [String] {
        let now = WallClock.milliseconds()
        var bases: [String] = []
        var arguments: [RedisArgument] = []
        arguments.reserveCapacity(additions.count * AddScript.jobArity)
        for addition in additions {
            let base = addition.keys.base
            let place = bases.firstIndex(of: base) ?? bases.count
            if place == bases.count { bases.append(base) }
            addition.append(to: &arguments, queue: place + 1, now: now)
        }
        let answers = try await run(AddScript.script, arguments, bases: bases).array ?? []
        guard answers.count == additions.count else {
            throw JobQueueError(.oddAnswer, "\(additions.count) jobs, \(answers.count) answers")
        }
        var ids: [String] = []
        for (answer, addition) in zip(answers, additions) {
            if case .int(let code) = answer {
                throw JobQueueError(answer: code, job: addition.job.options.id ?? "(new)")
            }
            ids.append(answer.text ?? "")
        }
        return ids
    }

    // MARK: Scripts

    /// Runs a script on this queue, or on the queues with these bases.
    func run(
        _ script: RedisScript,
        _ arguments: [RedisArgument],
        bases: [String]? = nil
    ) async throws(JobQueueError) -> RedisValue {
        let header: [RedisArgument] = [
            .int(WallClock.milliseconds()), .int(Int64(settings.eventsMax)),
            settings.usesPausedList ? "1" : "0",
        ]
        do {
            return try await redis.run(
                script,
                keys: bases ?? [keys.base],
                arguments: header + arguments,
                within: Queue.callLimit
            )
        } catch {
            throw JobQueueError(error)
        }
    }

    func send(_ command: [RedisArgument]) async throws(JobQueueError) -> RedisValue {
        do { return try await redis.send(command, within: Queue.callLimit) } catch {
            throw JobQueueError(error)
        }
    }
}

/// A job on its way into a queue.
struct Addition {
    let keys: QueueKeys
    var job: NewJob
    var parent: ParentReference?
    var scheduler = ""
    var hasChildren = false
    /// How many jobs may wait in the queue; 0 for any number.
    var waitingMax = 0

    init(keys: QueueKeys, job: NewJob, parent: ParentReference? = nil, waitingMax: Int = 0) {
        self.keys = keys
        self.job = job
        self.parent = parent
        self.waitingMax = waitingMax
    }

    func check() throws(JobQueueError) {
        if let fault = job.options.fault(data: job.data, hasParent: parent != nil) {
            throw JobQueueError(.invalid, fault)
        }
        if job.data.isEmpty { throw JobQueueError(.invalid, "the data is empty, not JSON") }
        if hasChildren && job.options.deduplication != nil {
            throw JobQueueError(.invalid, "a job with children cannot be deduplicated")
        }
    }

    func append(to arguments: inout [RedisArgument], queue: Int, now: Int64) {
        let options = job.options
        let flags = (options.isLIFO ? "l" : "") + (hasChildren ? "c" : "")
        var stored = options.json
        if let parent {
            stored["parent"] = [
                "id": .string(parent.id), "queue": .string(parent.queue.path),
            ]
        }
        arguments += [
            .int(Int64(queue)), .string(options.id ?? ""), .string(job.name), .string(job.data),
            .string(JSON.object(stored).text), .int(options.timestamp ?? now), .int(options.delay),
            .int(Int64(options.priority)),
            .string(flags + (options.deduplication?.flags ?? "")),
            .string(options.deduplication?.id ?? ""), .int(options.deduplication?.ttl ?? 0),
            .string(parent?.key ?? ""), .string(parent?.field(options.onParent) ?? ""),
            .string(scheduler), .int(Int64(waitingMax)),
        ]
    }
}
