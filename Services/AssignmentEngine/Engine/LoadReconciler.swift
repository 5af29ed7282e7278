internal import EventLoop
internal import FoundationEssentials
internal import Logging
internal import Metrics
internal import PostgresClient

/// Recounts what agents carry, every five minutes: what a crash or a bug left wrong is repaired, and
/// counted as drift.
@LoopActor
final class LoadReconciler {
    static let interval: Duration = .seconds(300)
    /// Agents that one pass repairs.
    static let agentsPerPass = 500

    private let postgres: PostgresClient
    private let logger: Logger
    private let drift = Counter(label: "agent_load_drift_total")
    private lazy var passes = RepeatedWork(every: LoadReconciler.interval) { [weak self] in
        await self?.pass()
    }

    init(postgres: PostgresClient, logger: Logger) {
        self.postgres = postgres
        self.logger = logger
    }

    func start() { passes.start() }

    func stop() { passes.stop() }

    private func pass() async {
        do {
            let suspects = try await postgres.query(
                "select * from assignment.suspect_loads($1)",
                [.int(LoadReconciler.agentsPerPass)]
            )
            for suspect in suspects {
                let (tenant, agent) = (try suspect.uuid("tenant_id"), try suspect.uuid("id"))
                let units = try await postgres.query(
                    "select assignment.reconcile_load($1, $2) as drift",
                    [.uuid(tenant), .uuid(agent)]
                ).one().int("drift")
                guard units != 0 else { continue }
                drift.increment(by: abs(units))
                logger.warning(
                    "an agent's load was repaired",
                    metadata: ["agent_id": "\(agent)", "drift": "\(units)"]
                )
            }
        } catch {
            logger.warning("loads could not be recounted", metadata: ["reason": "\(error)"])
        }
    }
}
