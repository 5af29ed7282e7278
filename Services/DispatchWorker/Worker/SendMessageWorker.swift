internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Logging
internal import RedisClient

/// Takes what is due from PostgreSQL and sends it, so many at once.
///
/// Woken after commits of this process; what others committed is found by looking.
@LoopActor
final class SendMessageWorker {
    /// Between two looks when nobody wakes it.
    static let pollInterval: Duration = .milliseconds(500)
    /// How long a request rests whose handling failed.
    static let failureRest: Duration = .seconds(1)

    private let concurrency: Int
    private let repository: SendRepository
    private let redis: RedisClient
    private let processor: SendMessageProcessor
    private let logger: Logger

    /// Requests in our hands: a look must not start them again.
    private var inHand: Set<UUID> = []
    private var running = 0
    private var sent = 0
    private var failed = 0
    private var isStopped = false
    private let wakeup = Wakeup()
    private var worker: Task<Void, Never>?

    init(_ parts: SendParts, redis: RedisClient, concurrency: Int) {
        self.concurrency = concurrency
        self.redis = redis
        repository = parts.repository
        processor = SendMessageProcessor(parts)
        logger = parts.logger
    }

    /// How many are being sent.
    var inFlight: Int { running }

    /// What it does now.
    var reading: WorkerReading {
        WorkerReading(
            state: isStopped ? "stopping" : "running",
            concurrency: concurrency,
            inFlight: running,
            sent: sent,
            failed: failed
        )
    }

    /// Starts looking.
    func start() {
        worker = Task { await run() }
    }

    /// Takes nothing more and waits for what is under way, `limit` at most.
    func stop(within limit: Duration) async {
        isStopped = true
        wake()
        await worker?.value
        let deadline = MonotonicTime.now() + limit
        while running > 0, MonotonicTime.now() < deadline {
            try? await EventLoop.shared.sleep(for: .milliseconds(10))
        }
    }

    /// Looks at once.
    func wake() { wakeup.wake() }

    private func run() async {
        while !isStopped {
            do {
                try await claim()
            } catch {
                logger.warning("due requests could not be read", metadata: ["error": "\(error)"])
            }
            if !isStopped { await wakeup.rest(atMost: SendMessageWorker.pollInterval) }
        }
    }

    private func claim() async throws {
        let room = concurrency - running
        // Nothing is sent without its lock: while Redis is away everything stays queued.
        guard room > 0, redis.isConnected else { return }
        let jobs = try await repository.due(limit: room + inHand.count)
        for job in jobs where running < concurrency {
            guard inHand.insert(job.messageRequestID).inserted else { continue }
            running += 1
            begin(job)
        }
    }

    private func begin(_ job: SendMessageJob) {
        Task {
            do {
                try await processor.process(job)
                sent += 1
                inHand.remove(job.messageRequestID)
            } catch {
                failed += 1
                logger.warning(
                    "a request could not be handled",
                    metadata: [
                        "tenant": "\(job.tenant)", "error": "\(error)",
                        "message_request_id": "\(job.messageRequestID.text)",
                    ]
                )
                EventLoop.shared.schedule(after: SendMessageWorker.failureRest) { [weak self] in
                    self?.inHand.remove(job.messageRequestID)
                }
            }
            running -= 1
            wake()
        }
    }
}
