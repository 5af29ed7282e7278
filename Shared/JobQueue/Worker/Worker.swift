public import EventLoop
internal import FoundationEssentials
public import RedisClient

/// Takes jobs of one queue and runs them, until it is stopped.
///
/// One script call records what became of several jobs and takes several new ones. A job is held by
/// a lock that is renewed while it runs; when this process dies, another worker finds the job without
/// its lock and runs it again, so a processor must bear a repeat.
@LoopActor
public final class Worker: Flushable {
    /// What a worker tells of itself.
    public enum Event: Sendable {
        /// A job is done.
        case completed(Job)
        /// A job failed; what happens next.
        case failed(Job, reason: String, FailureDecision)
        /// A job was lost to another worker before its outcome was recorded.
        case lost(Job, JobQueueError)
        /// Jobs of dead workers were found and are ready again.
        case recovered([String])
        /// Redis did not do what was asked; it is tried again.
        case trouble(JobQueueError)
    }

    /// How many calls are on their way at once: one runs while the answer of another is read.
    static let exchangesMax = 2
    /// How many outcomes one call records, and how many jobs it takes at most.
    static let batchMax = 32

    /// The queue.
    public let queue: Queue
    /// How it works.
    public let configuration: WorkerConfiguration
    /// For the loop.
    public var isFlushScheduled = false

    let observer: @LoopActor (Event) -> Void
    let blocking: RedisBlockingConnection
    let bench: Workbench
    var state: WorkerStateMachine
    let exchangeLatches = (0..<Worker.exchangesMax).map { _ in Latch() }
    let sleepLatch = Latch()
    private var loops: [Task<Void, Never>] = []
    private var pauses: [Task<Void, Never>] = []

    /// A worker on `queue`; it does nothing before ``start()``.
    ///
    /// - Parameters:
    ///   - connection: the server of the queue; a worker waits there on a connection of its own.
    ///   - processor: does the jobs.
    ///   - observer: is told what happens; must not wait.
    public init(
        _ queue: Queue,
        connection: RedisConfiguration,
        configuration: WorkerConfiguration = WorkerConfiguration(),
        observer: @escaping @LoopActor (Event) -> Void = { _ in },
        processor: @escaping Processor
    ) {
        self.queue = queue
        self.configuration = configuration
        self.observer = observer
        bench = Workbench(configuration, observer: observer, processor: processor)
        var connection = connection.serving(queue.keys.base)
        connection.clientName = Worker.clientName(queue.keys, worker: configuration.name)
        blocking = RedisBlockingConnection(connection)
        state = WorkerStateMachine(
            concurrency: max(1, configuration.concurrency),
            drainDelay: configuration.drainDelay.milliseconds
        )
        bench.onEnd = { [weak self] _ in
            guard let self else { return }
            state.ended()
            EventLoop.shared.flushLater(self)
        }
    }

    /// The name by which dashboards find a queue's workers in the server's list of clients.
    static func clientName(_ keys: QueueKeys, worker: String?) -> String {
        let name = "\(keys.prefix):\(Data(keys.queue.utf8).base64EncodedString())"
        return worker.map { "\(name):w:\($0)" } ?? name
    }

    // MARK: Life

    /// Begins to take jobs; while Redis is away it goes on trying.
    public func start() async {
        precondition(loops.isEmpty, "a worker starts once")
        do { try await blocking.start() } catch { observer(.trouble(JobQueueError(error))) }
        for latch in exchangeLatches { loops.append(Task { await exchange(latch) }) }
        loops.append(Task { await sleepUntilWoken() })
        pauses.append(Task { await bench.renewLocks() })
        pauses.append(Task { await bench.watchCancellations() })
        pauses.append(Task { await recoverStalled() })
        EventLoop.shared.flushLater(self)
    }

    /// Takes no more jobs, lets those that run end for up to `limit`, and records their outcomes.
    ///
    /// What has not ended by then is cancelled and stays active: another worker finds it without its
    /// lock. So does what could not be recorded because Redis is away.
    public func stop(within limit: Duration = .seconds(25)) async {
        guard !state.isStopping else { return }
        state.stop()
        bench.takesJobs = false
        let deadline = MonotonicTime.now() + limit
        // A marker that was just handed out goes down with the connection.
        await blocking.stop()
        await wakeAnother()
        ringAll()
        while !isIdle, MonotonicTime.now() < deadline {
            do { try await EventLoop.shared.sleep(for: .milliseconds(5)) } catch { break }
        }
        bench.cancelAll()
        for task in pauses + loops { task.cancel() }
        ringAll()
        for task in pauses + loops { await task.value }
        loops = []
        pauses = []
    }

    /// Takes no more jobs; those that run go on.
    public func pause() {
        state.pause()
        bench.takesJobs = false
    }

    /// Takes jobs again.
    public func resume() {
        state.resume()
        bench.takesJobs = state.takesJobs
        ringAll()
    }

    /// How many jobs are in this worker's hands.
    public var activeCount: Int { bench.count }

    private var isIdle: Bool { bench.count == 0 && state.reserved == 0 }

    /// At the end of a tick: what ended in it is recorded together.
    public func flush() { for latch in exchangeLatches { latch.ring() } }

    func ringAll() {
        flush()
        sleepLatch.ring()
    }
}
