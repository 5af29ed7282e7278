internal import Domain
internal import EventLoop
internal import FoundationEssentials
internal import Platform
internal import PostgresClient

/// A claim that a run asks for.
struct AskedClaim: Sendable {
    let tenant: Tenant
    let session: UUID
    let plan: RunPlan

    /// About how long it is as text.
    var bytes: Int {
        let decision = plan.decision
        return 500 + 160 * min(decision.order.count, Decision.listLimit)
            + 90 * min(decision.rejected.count, Decision.listLimit)
    }
}

/// Claims sessions; runs that are as far at the same moment share one commit.
///
/// A flush to disk costs more than a claim, so one for each would be most of what an assignment takes.
@LoopActor
final class Claims {
    /// How often a claim waits for a connection of the pool.
    static let attemptsMax = 4
    /// Commits under way at once: while one is flushed the next is prepared.
    static let underWayMax = 2
    /// Claims of one commit.
    ///
    /// Each is a savepoint, and a backend shows no more than 64 of them to others cheaply.
    static let togetherMax = 32
    /// Runs that wait for their claim.
    static let waitingMax = 4096

    private let sessions: SessionRepository
    private let together: Gathering<Int, AskedClaim, Claim>

    init(_ sessions: SessionRepository) {
        self.sessions = sessions
        var limits = WriteBatchLimits()
        limits.itemsMax = Claims.togetherMax
        limits.waitingMax = Claims.waitingMax
        together = Gathering(underWayMax: Claims.underWayMax, limits: limits) { _, asked in
            try await sessions.claim(asked)
        }
    }

    /// Claims for the first of the plan's order that has room.
    ///
    /// Waits again for a connection: a turn that was counted must not be lost to a pool that is busy
    /// for a moment, because somebody would be passed over for good.
    func claim(_ asked: AskedClaim) async throws -> Claim {
        for _ in 1..<Claims.attemptsMax {
            do {
                return try await attempt(asked)
            } catch let error as PostgresError where error.code == .poolExhausted {}
        }
        return try await attempt(asked)
    }

    private func attempt(_ asked: AskedClaim) async throws -> Claim {
        do {
            let claim = try await together.ask(asked, bytes: asked.bytes, of: 0)
            // Somebody had the session in hand, who may have given it to nobody: a run that only
            // looks on must not be the reason why all of them pass it by.
            if claim.result != .alone, claim.result != .busy { return claim }
        } catch let error as PostgresError where !error.isUnavailable {
            // Nothing was written. Each is tried alone, and the one at fault fails alone.
        }
        return try await sessions.claim(asked, isPatient: true)
    }
}
