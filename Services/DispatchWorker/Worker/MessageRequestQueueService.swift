internal import EventLoop
internal import FoundationEssentials
internal import JobQueue
internal import RedisClient

/// A request that is to have a job.
struct QueuedRequest: Sendable, Hashable {
    let tenant: String
    let id: UUID
    let generation: Int
    let threadTS: String?
    /// See ``SendMessageJobOptions/priority(rank:)``.
    let rank: Int64
    var delay: Duration = .zero

    var jobID: String { MessageRequestQueue.jobID(id, generation: generation) }
}

/// The tenants' queues of message requests.
///
/// A job is a hint that a request may be sent: when all are lost, PostgreSQL still knows what is to
/// be done. It knows no tenant's configuration.
@LoopActor
final class MessageRequestQueueService {
    /// How long a tenant's number of jobs is taken for true.
    static let backlogAge: Duration = .milliseconds(250)
    /// Above this many tenants what is known of their backlogs is dropped.
    static let backlogsMax = 10_000

    let queues: TenantQueues
    private let redis: RedisClient
    private var backlogs: [String: (count: Int, at: MonotonicTime)] = [:]

    /// - Parameter terms: how a tenant is served.
    init(
        redis: RedisClient,
        terms: @escaping @LoopActor (String) -> TenantQueues.Terms
    ) {
        self.redis = redis
        var settings = Queue.Settings()
        settings.eventsMax = MessageRequestQueue.eventsMax
        queues = TenantQueues(
            MessageRequestQueue.name,
            redis: redis,
            settings: settings,
            terms: terms
        )
    }

    /// Queues one job for each request; one that is there already stays as it is.
    ///
    /// - Throws: when Redis did not take them all; some may be there.
    func enqueueSimpleSendMessageJob(_ requests: [QueuedRequest]) async throws(JobQueueError) {
        for (tenant, requests) in MessageRequestQueueService.byTenant(requests) {
            let jobs = requests.map { request in
                var options = SendMessageJobOptions()
                options.delay = request.delay
                options.priority = SendMessageJobOptions.priority(rank: request.rank)
                return NewJob(
                    MessageRequestQueue.jobName,
                    json: SendMessageJob(
                        messageRequestID: request.id,
                        tenant: tenant,
                        threadTS: request.threadTS
                    ).json,
                    options: options.stored(id: request.jobID)
                )
            }
            try await queues.add(jobs, of: tenant)
        }
    }

    /// Makes jobs for requests that are due, or has those come up that are put off.
    ///
    /// - Returns: the ids of the jobs that are in a worker's hands, which may put them off yet.
    func bringForward(
        _ requests: [QueuedRequest]
    ) async throws(JobQueueError) -> Set<String> {
        try await enqueueSimpleSendMessageJob(requests)
        var active: Set<String> = []
        // A worker may take one before the next is ready: the most urgent come first.
        for request in requests.sorted(by: { $0.rank < $1.rank }) {
            let queue = try queues.queue(of: request.tenant)
            do throws(JobQueueError) {
                let priority = SendMessageJobOptions.priority(rank: request.rank)
                try await queue.setPriority(of: request.jobID, to: priority)
                try await queue.promote(request.jobID)
            } catch {
                guard error.code == .wrongState || error.code == .jobMissing else { throw error }
                if try await queue.state(of: request.jobID) == .active {
                    active.insert(request.jobID)
                }
            }
        }
        for (tenant, _) in MessageRequestQueueService.byTenant(requests) {
            try await queues.ring(tenant)
        }
        return active
    }

    /// Those of `requests` that have no job.
    func withoutJob(_ requests: [QueuedRequest]) async throws -> [QueuedRequest] {
        let answers = try await redis.pipeline(
            try requests.map { request in
                let key = try queues.queue(of: request.tenant).keys.job(request.jobID)
                return ["EXISTS", .string(key)]
            },
            within: .seconds(5)
        )
        return zip(requests, answers).filter { $1.integer == 0 }.map(\.0)
    }

    /// How many jobs of a tenant wait; nil when Redis does not say.
    func backlog(_ tenant: String) async -> Int? {
        let now = EventLoop.shared.now
        if let known = backlogs[tenant], now - known.at < MessageRequestQueueService.backlogAge {
            return known.count
        }
        guard let counts = try? await queues.queue(of: tenant).counts() else { return nil }
        let count = [JobState.waiting, .prioritized, .delayed].reduce(0) { $0 + (counts[$1] ?? 0) }
        if backlogs.count >= MessageRequestQueueService.backlogsMax { backlogs.removeAll() }
        backlogs[tenant] = (count, now)
        return count
    }

    private static func byTenant(
        _ requests: [QueuedRequest]
    ) -> [(key: String, value: [QueuedRequest])] {
        Dictionary(grouping: requests, by: \.tenant).sorted { $0.key < $1.key }
    }
}
