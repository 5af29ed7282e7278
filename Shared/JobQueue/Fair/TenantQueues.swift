public import EventLoop
public import RedisClient

/// Queues that are served fairly beside each other, and the ring that tells which have work.
///
/// Either one queue for each tenant, `<prefix>:{tenant}:<name>:…`, or all queues of a prefix, each as
/// a tenant of its own.
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

    let ring: TenantRing
    private let layout: TenantLayout
    private let redis: RedisClient
    private let settings: Queue.Settings
    private let termsOf: @LoopActor (String) -> Terms
    private let ownerOf: @LoopActor (String) -> String
    private var queues: [String: Queue] = [:]

    /// The queues `name` of all tenants.
    ///
    /// - Parameters:
    ///   - ring: the ring's name, where these are not all there are: workers serve whatever is in
    ///     their ring; nil for the ring of all.
    ///   - owner: whose queue it is, where a tenant has several under names of their own: in turns and
    ///     terms they are one.
    ///   - terms: how a tenant is served; asked anew whenever it has work.
    public init(
        _ name: String,
        prefix: String = QueueKeys.defaultPrefix,
        redis: RedisClient,
        settings: Queue.Settings = Queue.Settings(),
        ring: String? = nil,
        owner: @escaping @LoopActor (String) -> String = { $0 },
        terms: @escaping @LoopActor (String) -> Terms = { _ in Terms() }
    ) {
        layout = .tenants(prefix: prefix, name: name)
        ownerOf = owner
        self.redis = redis
        self.settings = settings
        termsOf = terms
        self.ring = TenantRing(ring ?? layout.ringName, redis: redis)
    }

    /// All queues whose keys begin with `prefix`; a tenant is what follows it, such as `mail` or
    /// `{acme}:mail`.
    public init(
        of prefix: String,
        redis: RedisClient,
        settings: Queue.Settings = Queue.Settings(),
        ring: String? = nil,
        terms: @escaping @LoopActor (String) -> Terms = { _ in Terms() }
    ) {
        layout = .all(prefix: prefix)
        ownerOf = { $0 }
        self.redis = redis
        self.settings = settings
        termsOf = terms
        self.ring = TenantRing(ring ?? layout.ringName, redis: redis)
    }

    /// The tenant's queue.
    ///
    /// - Throws: for a tenant whose name makes no queue: a tag has no brace in it and is not empty.
    public func queue(of tenant: String) throws(JobQueueError) -> Queue {
        if let queue = queues[tenant] { return queue }
        let queue = Queue(try layout.keys(of: tenant), redis: redis, settings: settings)
        queues[tenant] = queue
        return queue
    }

    func terms(of tenant: String) -> FairSchedule.Terms {
        let terms = termsOf(ownerOf(tenant))
        return FairSchedule.Terms(
            weight: max(1, terms.weight),
            inFlightMax: max(1, terms.inFlightMax)
        )
    }

    func owner(of tenant: String) -> String { ownerOf(tenant) }

    /// How many keys one step of ``find()`` looks at.
    private static let findMax: Int64 = 1000

    /// The tenants whose queues are there, in no order; looks at every key of the server, some
    /// hundred thousand a second, with others' commands between.
    public func find() async throws(JobQueueError) -> [String] {
        var found: Set<String> = []
        let scan = redis.scan(
            matching: layout.pattern,
            count: TenantQueues.findMax,
            type: "hash",
            within: Queue.callLimit
        )
        do {
            while let keys = try await scan.next() {
                found.formUnion(keys.compactMap(layout.tenant(ofMeta:)))
            }
        } catch {
            throw JobQueueError(error)
        }
        return Array(found)
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
        let terms = termsOf(ownerOf(tenant))
        let ids = try await queue.add(contentsOf: jobs, waitingMax: terms.queuedMax)
        // Whoever adds and dies before it rings is found by the sweep.
        try await ring(tenant, delay: jobs.map(\.options.delay).min() ?? 0)
        return ids
    }

    /// Tells workers that a tenant has a job that is ready, or will be in so many ms.
    public func ring(_ tenant: String, delay: Int64 = 0) async throws(JobQueueError) {
        try await ring.ring([tenant], due: delay == 0 ? 0 : WallClock.milliseconds() + delay)
    }
}
