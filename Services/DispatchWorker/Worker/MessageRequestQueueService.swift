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
    private let buckets: TenantBuckets
    private var backlogs: [String: (count: Int, at: MonotonicTime)] = [:]

    /// - Parameter terms: how a tenant is served.
    init(
        redis: RedisClient,
        buckets: TenantBuckets,
        terms: @escaping @LoopActor (String) -> TenantQueues.Terms
    ) {
        self.redis = redis
        self.buckets = buckets
        var settings = Queue.Settings()
        settings.eventsMax = MessageRequestQueue.eventsMax
        queues = TenantQueues(
            MessageRequestQueue.name,
            redis: redis,
            settings: settings,
            owner: { TenantBuckets.tenant(ofTag: $0) },
            terms: terms
        )
    }

    /// Queues one job for each request; one that is there already stays as it is.
    ///
    /// - Throws: when Redis did not take them all; some may be there.
    func enqueueSimpleSendMessageJob(_ requests: [QueuedRequest]) async throws(JobQueueError) {
        for (tag, requests) in byTag(requests) {
            let jobs = requests.map { request in
                var options = SendMessageJobOptions()
                options.delay = request.delay
                options.priority = SendMessageJobOptions.priority(rank: request.rank)
                return NewJob(
                    MessageRequestQueue.jobName,
                    json: SendMessageJob(
                        messageRequestID: request.id,
                        tenant: request.tenant,
                        threadTS: request.threadTS
                    ).json,
                    options: options.stored(id: request.jobID)
                )
            }
            try await queues.add(jobs, of: tag)
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
            let queue = try queues.queue(of: buckets.tag(request.tenant, request.id))
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
        for (tag, _) in byTag(requests) { try await queues.ring(tag) }
        return active
    }

    /// Those of `requests` that have no job.
    func withoutJob(_ requests: [QueuedRequest]) async throws -> [QueuedRequest] {
        var commands: [[RedisArgument]] = []
        var counts: [Int] = []
        for request in requests {
            let tags = buckets.tags(request.tenant, request.id)
            counts.append(tags.count)
            for tag in tags {
                let key = try queues.queue(of: tag).keys.job(request.jobID)
                commands.append(["EXISTS", .string(key)])
            }
        }
        var answers = try await redis.pipeline(commands, within: .seconds(5))[...]
        return zip(requests, counts).filter { _, count in
            defer { answers = answers.dropFirst(count) }
            return answers.prefix(count).allSatisfy { $0.integer == 0 }
        }.map(\.0)
    }

    /// How many jobs of a tenant wait; nil when Redis does not say.
    func backlog(_ tenant: String) async -> Int? {
        let now = EventLoop.shared.now
        if let known = backlogs[tenant], now - known.at < MessageRequestQueueService.backlogAge {
            return known.count
        }
        var count = 0
        for tag in buckets.queues(of: tenant) {
            guard let counts = try? await queues.queue(of: tag).counts() else { return nil }
            count += [JobState.waiting, .prioritized, .delayed].reduce(0) { $0 + (counts[$1] ?? 0) }
        }
        if backlogs.count >= MessageRequestQueueService.backlogsMax { backlogs.removeAll() }
        backlogs[tenant] = (count, now)
        return count
    }

    /// The requests by the tags of their queues.
    private func byTag(_ requests: [QueuedRequest]) -> [(key: String, value: [QueuedRequest])] {
        Dictionary(grouping: requests) { buckets.tag($0.tenant, $0.id) }
            .sorted { $0.key < $1.key }
    }
}
