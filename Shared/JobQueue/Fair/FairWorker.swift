public import EventLoop
public import RedisClient

/// Runs the jobs of many tenants' queues in one process, so that none waits for another's backlog.
///
/// Whose turn it is, is decided by deficit round robin; see ``TenantQueues/Terms``. Jobs are run,
/// held and recorded as ``Worker`` does it.
@LoopActor
public final class FairWorker: Flushable {
    /// How many calls are on their way at once.
    static let exchangesMax = 16
    static let batchMax = 32
    /// How many tenants with work a worker knows of at once.
    static let tenantsMax = 10_000
    /// How long a tenant whose queue is paused or full is left alone.
    static let blockedPause: Int64 = 1000
    static let retryPause: Duration = .milliseconds(200)

    let queues: TenantQueues
    let bench: Workbench
    let blocking: RedisBlockingConnection
    let configuration: WorkerConfiguration
    let observer: @LoopActor (Worker.Event) -> Void
    let tenants: @LoopActor () async -> [String]
    /// For the loop.
    public var isFlushScheduled = false

    var schedule = FairSchedule()
    /// In which generation each tenant was rung.
    var generations: [String: String] = [:]
    var executing = 0
    var reserved = 0
    var mustLook = true
    var nextDue: Int64?
    private(set) var isStopping = false
    private var isPaused = false
    private var tenantOf: [String: String] = [:]
    private let latches = (0..<FairWorker.exchangesMax).map { _ in Latch() }
    let sleepLatch = Latch()
    private var loops: [Task<Void, Never>] = []

    /// A worker on `queues`; it does nothing before ``start()``.
    ///
    /// - Parameters:
    ///   - tenants: all there are, for the sweep that finds what nobody rang for; asked anew after
    ///     each pause of the configuration's `drainDelay`, or `stalledInterval` if that is shorter.
    ///   - processor: does the jobs.
    public init(
        _ queues: TenantQueues,
        connection: RedisConfiguration,
        configuration: WorkerConfiguration = WorkerConfiguration(),
        tenants: @escaping @LoopActor () async -> [String],
        observer: @escaping @LoopActor (Worker.Event) -> Void = { _ in },
        processor: @escaping Processor
    ) {
        self.queues = queues
        self.configuration = configuration
        self.tenants = tenants
        self.observer = observer
        bench = Workbench(configuration, observer: observer, processor: processor)
        blocking = RedisBlockingConnection(connection.serving(queues.ring.key))
        bench.onEnd = { [weak self] active in self?.ended(active) }
    }

    private func ended(_ active: ActiveJob) {
        executing -= 1
        if let tenant = tenantOf[active.queue.keys.base] { schedule.ended(tenant) }
        EventLoop.shared.flushLater(self)
    }

    // MARK: Life

    /// Begins to take jobs; while Redis is away it goes on trying.
    public func start() async {
        precondition(loops.isEmpty, "a worker starts once")
        do { try await blocking.start() } catch { observer(.trouble(JobQueueError(error))) }
        for latch in latches { loops.append(Task { await exchange(latch) }) }
        loops.append(Task { await sleepUntilWoken() })
        loops.append(Task { await sweep() })
        loops.append(Task { await bench.renewLocks() })
        loops.append(Task { await bench.watchCancellations() })
        flush()
    }

    /// Takes no more jobs, lets those that run end for up to `limit`, and records their outcomes.
    public func stop(within limit: Duration = .seconds(25)) async {
        guard !isStopping else { return }
        isStopping = true
        bench.takesJobs = false
        let deadline = MonotonicTime.now() + limit
        await blocking.stop()
        ringAll()
        while bench.count > 0 || reserved > 0, MonotonicTime.now() < deadline {
            do { try await EventLoop.shared.sleep(for: .milliseconds(5)) } catch { break }
        }
        bench.cancelAll()
        for task in loops { task.cancel() }
        ringAll()
        for task in loops { await task.value }
        loops = []
    }

    /// Takes no more jobs; those that run go on.
    public func pause() {
        isPaused = true
        bench.takesJobs = false
    }

    /// Takes jobs again.
    public func resume() {
        isPaused = false
        bench.takesJobs = !isStopping
        ringAll()
    }

    /// At the end of a tick: what ended in it is recorded together.
    public func flush() { for latch in latches { latch.ring() } }

    func ringAll() {
        flush()
        sleepLatch.ring()
    }

    /// Places for further jobs.
    var free: Int {
        isStopping || isPaused ? 0 : max(0, configuration.concurrency - executing - reserved)
    }

    // MARK: Exchanges

    private func exchange(_ latch: Latch) async {
        while !Task.isCancelled {
            do throws(JobQueueError) {
                if let turn = schedule.next(free: min(free, FairWorker.batchMax)) {
                    try await serve(turn.id, turn.count)
                } else if case let batch = bench.takeOutcomes(FairWorker.batchMax),
                    let first = batch.first
                {
                    _ = try await bench.exchange(batch, taking: 0, of: first.active.queue)
                    try await ringAgain(batch, first.active.queue)
                } else if mustLook && free > 0 {
                    try await look()
                } else {
                    sleepLatch.ring()
                    await latch.wait()
                }
            } catch {
                do { try await EventLoop.shared.sleep(for: FairWorker.retryPause) } catch { return }
            }
        }
    }

    /// Rings for jobs that come up again: their tenant may be out of the ring.
    private func ringAgain(
        _ batch: [Workbench.Waiting],
        _ queue: Queue
    ) async throws(JobQueueError) {
        guard let tenant = tenantOf[queue.keys.base],
            let wait = batch.compactMap(\.outcome.comesAgainAfter).min()
        else { return }
        try await queues.ring.ring([tenant], due: WallClock.milliseconds() + wait)
    }

    /// One turn of a tenant: its outcomes are recorded, and its jobs taken.
    private func serve(_ tenant: String, _ count: Int) async throws(JobQueueError) {
        reserved += count
        do throws(JobQueueError) {
            let queue = try queues.queue(of: tenant)
            tenantOf[queue.keys.base] = tenant
            let batch = bench.takeOutcomes(FairWorker.batchMax, base: queue.keys.base)
            let (jobs, answer) = try await bench.exchange(batch, taking: count, of: queue)
            reserved -= count
            executing += jobs.count
            schedule.answered(tenant, got: jobs.count, of: count, hasMore: answer == .full)
            for job in jobs { bench.begin(job) }
            if answer != .full { try await settle(tenant, answer) }
            flush()
        } catch {
            if reserved >= count { reserved -= count }
            schedule.answered(tenant, got: 0, of: count, hasMore: false)
            mustLook = true
            throw error
        }
    }

    /// The tenant's queue had nothing more: what the ring says of it is brought up to date.
    private func settle(
        _ tenant: String,
        _ answer: WorkerStateMachine.Answer
    ) async throws(JobQueueError) {
        let now = WallClock.milliseconds()
        let next: Int64? =
            switch answer {
            case .full, .empty: nil
            case .next(let due): due
            case .limited(let left): now + left
            case .blocked: now + FairWorker.blockedPause
            }
        let generation = generations[tenant] ?? "0"
        guard try await queues.ring.settle(tenant, generation: generation, next: next) else {
            mustLook = true
            return
        }
        if let next { nextDue = min(nextDue ?? next, next) }
        // A client that does not ring may have added a job since its queue was found empty.
        if next == nil, try await queues.queue(of: tenant).hasReady() {
            try await queues.ring.ring([tenant])
            mustLook = true
        }
    }

    private func look() async throws(JobQueueError) {
        mustLook = false
        do throws(JobQueueError) {
            let now = WallClock.milliseconds()
            let look = try await queues.ring.look(now: now, limit: FairWorker.tenantsMax)
            nextDue = look.next
            for (tenant, generation) in look.due {
                generations[tenant] = generation
                schedule.isReady(
                    tenant,
                    of: queues.owner(of: tenant),
                    queues.terms(of: tenant)
                )
            }
            flush()
        } catch {
            mustLook = true
            throw error
        }
    }
}
