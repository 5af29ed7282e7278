internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import JobQueue

/// Where the jobs of message requests wait: one queue for each tenant, `bull:{tenant}:send-message`,
/// or for each bucket of a large one; see ``TenantBuckets``.
enum MessageRequestQueue {
    /// The queue's name.
    static let name = "send-message"
    /// What its jobs are called.
    static let jobName = "send-message"
    /// Events that a queue keeps; about 100 bytes each, times all tenants.
    static let eventsMax = 500

    /// The id of a request's job; each generation has one.
    static func jobID(_ id: UUID, generation: Int) -> String { "\(id.text).\(generation)" }

    /// The generation in a job's id; nil in the ids that other producers' jobs get.
    static func generation(ofJob jobID: String, request: UUID) -> Int? {
        let parts = jobID.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 2, parts[0] == request.text else { return nil }
        return Int(parts[1])
    }
}

/// What is in a job: which request.
///
/// Nothing of its content, no configuration, no secret.
struct SendMessageJob: Sendable, Hashable {
    /// How many bytes it has at most.
    static let sizeMax = 1023

    let messageRequestID: UUID
    let tenant: String
    /// The thread that the caller named; the worker goes by the request's own.
    let threadTS: String?

    init(messageRequestID: UUID, tenant: String, threadTS: String? = nil) {
        self.messageRequestID = messageRequestID
        self.tenant = tenant
        self.threadTS = threadTS
    }

    /// Reads a job's data.
    ///
    /// - Throws: ``Malformed`` for anything but the members of 002, each of the right kind.
    init(parsing data: [UInt8]) throws(Malformed) {
        guard data.count <= SendMessageJob.sizeMax else {
            throw Malformed(reason: "it has \(data.count) bytes")
        }
        guard let document = try? JSON(parsing: data), case .object(let object) = document else {
            throw Malformed(reason: "it is not a JSON object")
        }
        for name in object.members.map(\.key) where !SendMessageJob.members.contains(name) {
            throw Malformed(reason: "the member '\(name)' is unknown")
        }
        guard let id = object["messageRequestId"]?.stringValue.flatMap(UUID.init(text:))
        else {
            throw Malformed(reason: "messageRequestId is not a UUID")
        }
        guard let tenant = object["tenant"]?.stringValue, !tenant.isEmpty else {
            throw Malformed(reason: "tenant is missing")
        }
        let thread = object["threadTs"]?.present
        guard thread == nil || thread?.stringValue != nil else {
            throw Malformed(reason: "threadTs is not a text")
        }
        self.init(messageRequestID: id, tenant: tenant, threadTS: thread?.stringValue)
    }

    private static let members: Set<String> = ["messageRequestId", "tenant", "threadTs"]

    /// What is stored.
    var json: JSON {
        var object: JSONObject = [
            "messageRequestId": .string(messageRequestID.text), "tenant": .string(tenant),
        ]
        if let threadTS { object["threadTs"] = .string(threadTS) }
        return .object(object)
    }

    /// Why data is not a job's.
    struct Malformed: Error, Sendable, Hashable {
        let reason: String
    }
}

/// How a job is queued.
struct SendMessageJobOptions: Sendable, Hashable {
    /// How often a run may break before the job is given up; the sweep then makes another.
    var attempts = 8
    /// The pause after a run that broke.
    var backoff: Duration = .seconds(1)
    /// Until the job comes up.
    var delay: Duration = .zero
    /// Lower is served first; see ``priority(rank:)``.
    var priority = 0
    /// What stays of it: nothing, so that the same id can be queued again.
    var keeps = KeepPolicy.none

    /// What the queue stores.
    func stored(id: String) -> JobOptions {
        var options = JobOptions()
        options.id = id
        options.attempts = attempts
        options.backoff = .fixed(backoff.milliseconds, jitter: 0.5)
        options.delay = max(0, delay.milliseconds)
        options.priority = priority
        options.removeOnComplete = keeps
        options.removeOnFail = keeps
        options.stackTraceLimit = 1
        return options
    }

    /// How many seconds share a priority.
    static let rankSeconds: Int64 = 10

    /// The priority of a request that is to leave by `rank`, seconds since 1970: urgent ones first, and
    /// what waits long overtakes, because the rank stays while time goes on.
    ///
    /// The queue has 2²¹ priorities; they come round every eight months, when for once what was queued
    /// before the turn follows what was queued after it.
    static func priority(rank: Int64) -> Int {
        1 + Int((rank / rankSeconds) % Int64(Score.priorityMax))
    }
}

/// What came of one run of a job.
struct JobProcessingResult: Sendable, Hashable {
    /// The request's state, as far as this run knows.
    var status: String
    let messageRequestID: UUID
    /// The provider's id of the message.
    var providerTS: String?
    /// Why it was not sent, or not yet.
    var error: String?
    /// How long until the job is to run again; nil when it is done.
    var retryIn: Duration?
    /// Nothing was attempted: somebody else has it, or it is not to be sent any more.
    var isSkipped = false
    /// Others of its thread may wait for its end.
    var isOfThread = false

    /// What the queue shows of it; `retryAt` in ms since 1970.
    func json(now: Int64) -> JSON {
        var object: JSONObject = [
            "status": .string(status), "messageRequestId": .string(messageRequestID.text),
        ]
        if let providerTS { object["providerTs"] = .string(providerTS) }
        if let error { object["error"] = .string(error) }
        if let retryIn { object["retryAt"] = .int(now + retryIn.milliseconds) }
        if isSkipped { object["skipped"] = true }
        return .object(object)
    }
}

extension JobProcessingResult {
    /// The result of a run that could not send yet.
    init(waiting job: MessageReference, retryIn: Duration? = nil, error: String? = nil) {
        self.init(
            status: "waiting",
            messageRequestID: job.messageRequestID,
            error: error,
            retryIn: retryIn
        )
    }
}
