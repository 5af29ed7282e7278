internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import JobQueue
internal import Logging
internal import PostgresClient
internal import RedisClient

/// Takes jobs from the tenants' queues, in turn, and sends what they stand for.
///
/// That a job runs decides nothing: the request's row in PostgreSQL says whether it may be sent. A
/// job that comes too early, or meets an attempt of somebody else, comes up again when that may be
/// over.
@LoopActor
final class SendMessageWorker {
    /// How long a job rests while a store is away; no attempt is spent.
    static let storeWait: Duration = .seconds(1)
    /// How often a job may be lost by dying workers: the request's own state counts its attempts.
    static let stalledMax = 1_000
    /// How many failed jobs of other producers a queue keeps.
    static let failuresKept = 100
    /// The same trouble is told this often at most.
    static let troublePause: Duration = .seconds(5)

    private let concurrency: Int
    private let processor: SendMessageProcessor
    private let tenants: TenantDirectory
    private let buckets: TenantBuckets
    private let metrics: SendMetrics
    private let logger: Logger
    private var fair: FairWorker?
    private var running = 0
    private var sent = 0
    private var failed = 0
    private var isStopped = false
    private var isPaused = false
    private var lastTrouble = MonotonicTime(nanoseconds: 0)
    /// Called when a message has ended for which others of its thread may wait.
    private let threadEnded: @LoopActor () -> Void

    init(
        _ parts: SendParts,
        connection: RedisConfiguration,
        concurrency: Int,
        lease: Duration,
        threadEnded: @escaping @LoopActor () -> Void
    ) {
        self.concurrency = concurrency
        self.threadEnded = threadEnded
        processor = SendMessageProcessor(parts)
        tenants = parts.tenants
        buckets = parts.buckets
        metrics = parts.metrics
        logger = parts.logger
        var settings = WorkerConfiguration()
        settings.concurrency = concurrency
        // Well below the lease of an attempt, which decides when it may be taken over.
        settings.lock = lease / 2
        settings.stalledInterval = lease / 2
        settings.stalledMax = SendMessageWorker.stalledMax
        settings.removeOnComplete = .none
        settings.removeOnFail = KeepPolicy(count: SendMessageWorker.failuresKept)
        fair = FairWorker(
            parts.queue.queues,
            connection: connection,
            configuration: settings,
            tenants: { [weak self] in await self?.toSweep() ?? [] },
            observer: { [weak self] in self?.note($0) },
            processor: { [weak self] in try await self?.process($0) ?? "" }
        )
    }

    /// How many are being sent.
    var inFlight: Int { running }

    /// What it does now.
    var reading: WorkerReading {
        WorkerReading(
            state: isStopped ? "stopping" : isPaused ? "paused" : "running",
            concurrency: concurrency,
            inFlight: running,
            sent: sent,
            failed: failed
        )
    }

    /// Starts taking jobs.
    func start() async { await fair?.start() }

    /// Takes nothing more while it is paused; what is under way goes on.
    ///
    /// - Returns: false when that is no news.
    func pause(_ paused: Bool) -> Bool {
        guard paused != isPaused else { return false }
        isPaused = paused
        logger.notice(paused ? "paused: nothing more is taken" : "jobs are taken again")
        if paused { fair?.pause() } else { fair?.resume() }
        return true
    }

    /// Takes nothing more and waits for what is under way, `limit` at most.
    func stop(within limit: Duration) async {
        isStopped = true
        await fair?.stop(within: limit)
    }

    private func toSweep() async -> [String] {
        do {
            return try await tenants.toSweep().flatMap(buckets.queues)
        } catch {
            trouble("tenants could not be read", error)
            return []
        }
    }

    /// Runs a job; what it throws says when the job comes up again.
    private func process(_ active: ActiveJob) async throws -> String {
        running += 1
        defer { running -= 1 }
        // A task of its own: whoever loses the job's lock must still record what was sent.
        let work = Task { try await handle(active) }
        let result: JobProcessingResult
        do {
            result = try await work.value
        } catch let error as PostgresError where error.isUnavailable || error.outcomeUnknown {
            failed += 1
            trouble("a request could not be handled", error)
            throw JobInterruption.delay(milliseconds: SendMessageWorker.storeWait.milliseconds)
        } catch {
            failed += 1
            trouble("a request could not be handled", error)
            throw error
        }
        if let wait = result.retryIn {
            throw JobInterruption.delay(milliseconds: max(1, wait.milliseconds))
        }
        if !result.isSkipped { sent += 1 }
        return result.json(now: WallClock.milliseconds()).text
    }

    private func handle(_ active: ActiveJob) async throws -> JobProcessingResult {
        let job: SendMessageJob
        do throws(SendMessageJob.Malformed) {
            job = try SendMessageJob(parsing: active.job.data)
        } catch {
            throw UnrecoverableError("it is no job of a message request: \(error.reason)")
        }
        // Whoever may write into one tenant's queue must not reach another's messages.
        let bucket = TenantBuckets.bucket(job.tenant, job.messageRequestID)
        let prefixes = [job.tenant, bucket].map { "\(QueueKeys.defaultPrefix):{\($0)}" }
        guard prefixes.contains(active.queue.keys.prefix),
            let tenantID = try await tenants.id(of: job.tenant)
        else { throw UnrecoverableError("the tenant '\(job.tenant)' has no such queue") }
        let age = WallClock.milliseconds() - active.job.timestamp
        let result = try await processor.process(
            tenantID,
            job,
            generation: MessageRequestQueue.generation(
                ofJob: active.job.id,
                request: job.messageRequestID
            ),
            age: .milliseconds(age)
        )
        if result.isOfThread, result.retryIn == nil { threadEnded() }
        return result
    }

    private func note(_ event: Worker.Event) {
        switch event {
        case .completed: break
        case .failed(let job, let reason, let next):
            guard next == .fail else { return }
            metrics.needs(.jobFailed)
            logger.error("a job failed", metadata: ["job": "\(job.id)", "error": "\(reason)"])
        case .lost(let job, let error):
            logger.info(
                "a job went to another worker",
                metadata: ["job": "\(job.id)", "error": "\(error.message)"]
            )
        case .recovered(let ids):
            logger.warning("jobs of a dead worker go on", metadata: ["count": "\(ids.count)"])
        case .trouble(let error): trouble("the queue does not answer", error)
        }
    }

    /// A store that is away fails every job: it is told once in a while.
    private func trouble(_ what: Logger.Message, _ error: any Error) {
        let now = EventLoop.shared.now
        guard now - lastTrouble >= SendMessageWorker.troublePause else { return }
        lastTrouble = now
        logger.warning(what, metadata: ["error": "\(error)"])
    }
}
