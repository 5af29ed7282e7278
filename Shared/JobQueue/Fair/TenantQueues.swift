public import EventLoop
public import RedisClient

/// One queue for each tenant, and the ring that tells which have work.
@LoopActor
public final class TenantQueues {
    /// How a tenant is served.
    public struct Terms: Sendable, Hashable {
        /// How many of its jobs run in a round of all tenants; at least 1.
        public var weight = 1
        /// How many of its jobs one worker runs at once.
        public var inFlightMax = 8
        /// How many of its jobs may wait; 0 for any number.
        public var queuedMax = 0

        /// The terms of everybody.
        public init() {}
    }

    /// The queues' name.
    public let name: String
    /// Which tenants have work.
    public let ring: TenantRing
    private let redis: RedisClient
    private let settings: Queue.Settings
    private let termsOf: @LoopActor (String) -> Terms
    private var queues: [String: Queue] = [:]

    /// The queues `name` of all tenants: `bull:{tenant}:<name>:…`.
    ///
    /// - Parameter terms: how a tenant is served; asked anew whenever it has work.
    public init(
        _ name: String,
        redis: RedisClient,
        settings: Queue.Settings = Queue.Settings(),
        terms: @escaping @LoopActor (String) -> Terms = { _ in Terms() }
    ) {
        self.name = name
        self.redis = redis
        self.settings = settings
        termsOf = terms
        ring = TenantRing("\(QueueKeys.defaultPrefix):\(name)", redis: redis)
    }

    /// The tenant's queue.
    ///
    /// - Throws: for a tenant whose name has a brace or nothing in it: it would be no tag.
    public func queue(of tenant: String) throws(JobQueueError) -> Queue {
        if let queue = queues[tenant] { return queue }
        guard !tenant.isEmpty, !tenant.contains(where: { $0 == "{" || $0 == "}" }) else {
            throw JobQueueError(.invalid, "the tenant '\(tenant)' is no tag of a key")
        }
        let keys = try QueueKeys(queue: name, prefix: "\(QueueKeys.defaultPrefix):{\(tenant)}")
        let queue = Queue(keys, redis: redis, settings: settings)
        queues[tenant] = queue
        return queue
    }

    func terms(of tenant: String) -> FairSchedule.Terms {
        let terms = termsOf(tenant)
        return FairSchedule.Terms(
            weight: max(1, terms.weight),
            inFlightMax: max(1, terms.inFlightMax)
        )
    }

    /// Adds jobs of a tenant and rings for it.
    ///
    /// - Returns: their ids.
    /// - Throws: ``JobQueueError/Code/backlogFull`` when as many wait as its terms allow; those
    ///   before are added.
    @discardableResult
    public func add(
        _ jobs: [NewJob],
        of tenant: String
    ) async throws(JobQueueError) -> [String] {
        let queue = try queue(of: tenant)
        let most = termsOf(tenant).queuedMax
        let ids = try await queue.submit(
            jobs.map { job in
                var addition = Addition(keys: queue.keys, job: job)
                addition.waitingMax = most
                return addition
            }
        )
        // Whoever adds and dies before it rings is found by the sweep.
        let delay = jobs.map(\.options.delay).min() ?? 0
        try await ring.ring([tenant], due: delay == 0 ? 0 : WallClock.milliseconds() + delay)
        return ids
    }
}
