internal import EventLoop
internal import FoundationEssentials
internal import Logging
internal import Platform

/// The queue drains itself: whenever an agent may have room, and by a sweep behind it.
///
/// Triggers of one tenant coalesce: one run at a time, and however many arrive during it cause
/// exactly one more.
@LoopActor
final class QueueDrainer {
    /// Sessions that one run looks at.
    static let sessionsPerRun = 100
    /// Of each team, so that a long queue of one leaves the others their share.
    static let sessionsPerTeam = 25
    /// Between two sweeps over all tenants.
    static let sweepInterval: Duration = .seconds(15)
    /// Tenants that one sweep looks at.
    static let tenantsPerSweep = 1000

    private let service: AssignmentService
    private let sessions: SessionRepository
    private let logger: Logger
    private var running: Set<UUID> = []
    private var again: Set<UUID> = []
    private var isStopped = false
    private lazy var sweeps = RepeatedWork(every: QueueDrainer.sweepInterval) { [weak self] in
        await self?.sweep()
    }

    init(service: AssignmentService, sessions: SessionRepository, logger: Logger) {
        self.service = service
        self.sessions = sessions
        self.logger = logger
    }

    func start() { sweeps.start() }

    /// Ends after the runs under way.
    func stop() async {
        isStopped = true
        sweeps.stop()
        while !running.isEmpty { try? await EventLoop.shared.sleep(for: .milliseconds(10)) }
    }

    /// Something changed for this tenant: look at its queue.
    func trigger(_ tenant: Tenant) {
        guard !isStopped else { return }
        guard running.insert(tenant.id).inserted else {
            again.insert(tenant.id)
            return
        }
        Task {
            repeat {
                again.remove(tenant.id)
                do {
                    _ = try await assignQueuedSessionsToAvailableAgents(tenant, team: nil)
                } catch {
                    logger.warning(
                        "the queue could not be drained",
                        metadata: ["tenant": "\(tenant.code)", "reason": "\(error)"]
                    )
                }
            } while again.contains(tenant.id) && !isStopped
            running.remove(tenant.id)
        }
    }

    /// Runs the engine for queued sessions in the order of the queue, which is one across all teams.
    ///
    /// Returns how many were assigned.
    ///
    /// A team in which nobody has room is passed over for the rest of the run, so that its head does
    /// not hold up the others; a session that alone asks for more than its team has holds up nobody.
    /// One whose own run was cut off is looked at all the same: its reason has to be told.
    func assignQueuedSessionsToAvailableAgents(
        _ tenant: Tenant,
        team: UUID?
    ) async throws -> Int {
        var assigned = 0
        var explained = 0
        var blocked: Set<UUID?> = []
        let queue = try await sessions.queueHeads(
            tenant,
            team: team,
            perTeam: QueueDrainer.sessionsPerTeam,
            limit: QueueDrainer.sessionsPerRun
        )
        for session in queue where !isStopped {
            guard session.isUnexplained || !blocked.contains(session.teamID) else { continue }
            let result = try await service.run(tenant, session, source: .queue)
            if session.isUnexplained, result.outcome != .error { explained += 1 }
            switch (result.outcome, result.reason) {
            case (.assign, _): assigned += 1
            case (.error, _), (.skip, "no_candidates"), (.skip, "no_capacity"):
                if !session.isParticular { blocked.insert(session.teamID) }
            case (.skip, _), (.stop, _): break
            }
            // The owner before was left out of that run only.
            if result.outcome == .skip, session.leavesOutOwner { again.insert(tenant.id) }
        }
        // There may be more than one run looks at.
        if assigned + explained > 0, queue.count >= QueueDrainer.sessionsPerTeam {
            again.insert(tenant.id)
        }
        return assigned
    }

    private func sweep() async {
        do {
            for tenant in try await sessions.tenantsWaiting(limit: QueueDrainer.tenantsPerSweep) {
                trigger(tenant)
            }
        } catch {
            logger.warning("the queues could not be swept", metadata: ["reason": "\(error)"])
        }
    }
}
