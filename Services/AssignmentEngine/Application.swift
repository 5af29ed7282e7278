internal import Coordination
internal import EventLoop
internal import JSON
internal import Logging
internal import Platform

/// The assignment engine, wired.
@LoopActor
final class Application {
    private let runtime: ServiceRuntime
    private let contexts: any RoundRobinContextProvider
    private let sessions: SessionRepository
    private let service: AssignmentService
    private let drainer: QueueDrainer
    private let timers: TimerRunner
    private let presence: Duration
    /// What becomes of each operation while Redis is away.
    private let policies: JSON

    init(_ configuration: Configuration) {
        let runtime = ServiceRuntime(configuration.common)
        let logger = runtime.logger
        let contexts = RoundRobinContextProviderFactory.make(
            redis: runtime.redis,
            fallback: configuration.roundRobinFallback
        )
        let sessions = SessionRepository(postgres: runtime.postgres)
        let service = AssignmentService(
            sessions: sessions,
            contexts: contexts,
            retries: EngineRetries(postgres: runtime.postgres),
            logger: logger
        )
        self.runtime = runtime
        self.contexts = contexts
        self.sessions = sessions
        self.service = service
        drainer = QueueDrainer(service: service, sessions: sessions, logger: logger)
        presence = configuration.presence
        policies = [
            "round_robin": configuration.roundRobinFallback == .memory
                ? "memory" : "error_and_retry",
            "events": "wait_in_outbox",
        ]
        timers = TimerRunner(
            owner: EngineRetries.owner,
            postgres: runtime.postgres,
            failed: { logger.warning("timer: \($0)") }
        ) { timer in
            try await Application.retry(timer, sessions, service)
        }
    }

    /// Serves until a signal.
    func run() async throws {
        try await runtime.start()
        timers.start()
        drainer.start()
        let roster = RosterRepository(postgres: runtime.postgres)
        let routes =
            RosterRoutes(roster: roster, drainer: drainer, presence: presence).routes
            + SessionRoutes(service: service, sessions: sessions, drainer: drainer).routes
        try await runtime.serve(
            routes,
            title: "Switchboard assignment engine",
            health: { [contexts, policies] in
                ["rr_provider": .string(contexts.name), "policies": policies]
            },
            stop: { [timers, drainer] in
                await timers.stop()
                await drainer.stop()
            }
        )
    }

    /// A run that ended as an error is made again; another error has the timer come again.
    private static func retry(
        _ timer: DueTimer,
        _ sessions: SessionRepository,
        _ service: AssignmentService
    ) async throws {
        let tenant = Tenant(id: timer.tenantID, code: timer.tenant)
        guard timer.kind == EngineRetries.kind,
            let session = try await sessions.find(tenant, timer.refID)
        else { return }
        let result = try await service.run(tenant, session, source: .timer)
        if result.outcome == .error { throw StillFailing(reason: result.reason) }
    }
}

/// A retried run failed again.
private struct StillFailing: Error, CustomStringConvertible {
    let reason: String
    var description: String { reason }
}
