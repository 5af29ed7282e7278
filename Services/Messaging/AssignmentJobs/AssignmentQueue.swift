internal import EventLoop
internal import FaultPoints
internal import FoundationEssentials
internal import HTTPServer
internal import JSON
internal import JobQueue
internal import Logging
internal import Platform
internal import PostgresClient
internal import RedisClient
internal import Telemetry
internal import Tracing

/// Finds threads in the background, for messages that were posted with `?mode=async`.
///
/// One queue for each tenant, served in turns. The queue is the fast way and not the promise: every
/// such message has a timer in the database as well, which finds its thread when the queue has not.
@LoopActor
final class AssignmentQueue {
    /// How many assignments one process makes at once.
    static let concurrency = 16
    /// How many failed jobs of a tenant stay to be looked at: those that other programs made.
    static let failedMax = 1000

    private let redis: RedisClient?
    private let queues: TenantQueues?
    private let postgres: PostgresClient
    private let useCase: AutoAssignMessageUseCase
    private let lease: Duration
    private let logger: Logger
    private var worker: FairWorker?
    private var tenants: [String: UUID] = [:]

    init(
        _ runtime: ServiceRuntime,
        _ configuration: MessagingConfiguration,
        useCase: AutoAssignMessageUseCase
    ) {
        postgres = runtime.postgres
        logger = runtime.logger
        self.useCase = useCase
        lease = configuration.assignmentLease
        redis = runtime.queueRedis
        var settings = Queue.Settings()
        settings.eventsMax = 500
        queues = redis.map { TenantQueues(AssignmentJob.name, redis: $0, settings: settings) }
        guard let queues else { return }
        var work = WorkerConfiguration()
        work.concurrency = AssignmentQueue.concurrency
        work.lock = lease
        work.stalledInterval = lease
        work.removeOnComplete = KeepPolicy.none
        work.removeOnFail = KeepPolicy(count: AssignmentQueue.failedMax)
        // A message whose worker died is tried again as often as workers die.
        work.stalledMax = AssignmentJob.attempts
        worker = FairWorker(
            queues,
            connection: runtime.configuration.queueRedis,
            configuration: work,
            tenants: { [weak self] in await self?.tenantCodes() ?? [] },
            observer: { [logger] in AssignmentQueue.note($0, logger) },
            processor: { [weak self] in
                guard let self else { throw JobInterruption.delay(milliseconds: 1000) }
                return try await run($0)
            }
        )
    }

    func start() async {
        await worker?.start()
    }

    func stop() async {
        await worker?.stop(within: .seconds(5))
    }

    /// How long a message may wait for its job before its timer takes over: long enough for another
    /// process to find what a dead one left, and not at all without Redis.
    var delay: Duration {
        redis?.isConnected == true ? lease * 3 : .zero
    }

    /// Makes the job of a stored message; one that cannot be made leaves it to the timer.
    func add(_ caller: Caller, message: UUID, room: UUID) async {
        guard let queues else { return Degradation.note("async_assignment") }
        let job = AssignmentJob(message: message, room: room, tenant: caller.tenant)
        do {
            try await queues.add([job.newJob(below: Span.current?.place)], of: caller.code)
        } catch {
            Degradation.note("async_assignment")
            logger.warning(
                "an assignment was left to its timer",
                metadata: ["message_id": "\(message.text)", "reason": "\(error)"]
            )
        }
    }

    /// Where the job of a message is; `nil` when the queue does not know.
    func state(_ caller: Caller, _ message: UUID) async -> JobState? {
        guard let queue = try? queues?.queue(of: caller.code) else { return nil }
        return try? await queue.state(of: message.text)
    }

    // MARK: Work

    private func run(_ active: ActiveJob) async throws -> String {
        try await FaultPoints.reached("assignment.taken")
        let job: AssignmentJob
        do {
            job = try AssignmentJob(active.job.dataValue())
        } catch {
            throw UnrecoverableError("\(error)")
        }
        guard let code = await code(of: job.tenant),
            active.queue.keys.prefix == "\(QueueKeys.defaultPrefix):{\(code)}"
        else { throw UnrecoverableError("the tenant of the job is not the queue's") }
        let caller = Caller(
            tenant: job.tenant,
            code: code,
            actor: "job",
            requestID: active.job.id
        )
        do {
            let trace = AssignmentJob.trace(of: active.job)
            let assignment = try await withSpan("assignment.job", .consumer, below: trace) {
                try await useCase.execute(caller, message: job.message)
            }
            try await FaultPoints.reached("assignment.made")
            return String(decoding: assignment, as: UTF8.self)
        } catch let problem as Problem where problem.status == 404 {
            throw UnrecoverableError("there is no such message")
        } catch let problem as Problem where problem.retryAfterMilliseconds != nil {
            throw JobInterruption.delay(milliseconds: Int64(problem.retryAfterMilliseconds ?? 1000))
        }
    }

    private func code(of tenant: UUID) async -> String? {
        if let known = tenants.first(where: { $0.value == tenant }) { return known.key }
        _ = await tenantCodes()
        return tenants.first { $0.value == tenant }?.key
    }

    private func tenantCodes() async -> [String] {
        let rows = try? await postgres.query(
            "select code, id from platform.tenants",
            [],
            idempotent: true
        )
        guard let rows else { return Array(tenants.keys) }
        for row in rows {
            if let code = try? row.string("code"), let id = try? row.uuid("id") {
                tenants[code] = id
            }
        }
        return Array(tenants.keys)
    }

    private static func note(_ event: Worker.Event, _ logger: Logger) {
        switch event {
        case .completed: break
        case .failed(let job, let reason, _):
            logger.warning(
                "an assignment failed",
                metadata: ["message_id": "\(job.id)", "reason": "\(reason)"]
            )
        case .lost, .recovered: break
        case .trouble: Degradation.note("async_assignment")
        }
    }
}
