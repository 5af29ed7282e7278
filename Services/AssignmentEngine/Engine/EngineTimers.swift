internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import Platform

/// Does what due timers are for: they live in the database, survive restarts and act once.
@LoopActor
final class EngineTimers {
    private let sessions: SessionRepository
    private let service: AssignmentService
    private let drainer: QueueDrainer

    init(sessions: SessionRepository, service: AssignmentService, drainer: QueueDrainer) {
        self.sessions = sessions
        self.service = service
        self.drainer = drainer
    }

    /// Acts for one timer; throws to have it come again.
    func act(_ timer: DueTimer) async throws {
        let tenant = Tenant(id: timer.tenantID, code: timer.tenant)
        switch timer.kind {
        case EngineRetries.kind: try await retry(tenant, timer)
        case "offline_grace": try await absence(tenant, timer.refID)
        default:
            let session = try await sessions.timerDue(
                tenant,
                timer.refID,
                kind: timer.kind,
                sequence: timer.refSeq
            )
            if let session { _ = try await service.run(tenant, session, source: .timer) }
            // Whoever lost it has room now.
            drainer.trigger(tenant)
        }
    }

    /// A run that ended as an error is made again; another error has the timer come again.
    private func retry(_ tenant: Tenant, _ timer: DueTimer) async throws {
        guard let session = try await sessions.find(tenant, timer.refID) else { return }
        let result = try await service.run(tenant, session, source: .timer)
        if result.outcome == .error { throw StillFailing(reason: result.reason) }
    }

    private func absence(_ tenant: Tenant, _ agent: UUID) async throws {
        let (due, next) = try await sessions.absenceDue(tenant, agent)
        for session in due {
            try await sessions.releaseAbsent(tenant, session, agent: agent)
        }
        if let next { try await sessions.watchAgain(tenant, agent, at: next) }
        if !due.isEmpty { drainer.trigger(tenant) }
    }
}

/// A retried run failed again.
private struct StillFailing: Error, CustomStringConvertible {
    let reason: String
    var description: String { reason }
}
