internal import Coordination
internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Logging
internal import Platform
internal import Telemetry
internal import Tracing

/// How a run ends, and what is kept of it.
extension AssignmentService {
    func claimed(_ claim: Claim, _ session: Session, _ plan: RunPlan) -> RunResult? {
        switch claim.result {
        case .assigned:
            RunResult(
                outcome: .assign,
                reason: plan.decision.reason,
                agentID: claim.agentID,
                strategy: plan.decision.strategy,
                decisionID: plan.decision.id,
                session: claim.session ?? session
            )
        case .taken: settled(claim.session ?? session, (claim.session ?? session).document)
        case .busy, .noCapacity, .alone: nil
        }
    }

    /// Nobody got it: why is stored, and when it is looked at again.
    func leave(
        _ tenant: Tenant,
        _ session: Session,
        _ plan: RunPlan,
        since began: MonotonicTime
    ) async throws -> RunResult {
        var plan = plan
        let end = plan.end ?? Ending(outcome: .skip, reason: "no_candidates")
        plan.decision.outcome = end.outcome
        plan.decision.reason = end.reason
        plan.decision.note = end.note
        if !plan.isWhole, end.outcome == .skip {
            let counts = try await sessions.awayCounts(
                tenant,
                team: plan.session.teamID,
                known: plan.decision.rejected.map(\.agent)
            )
            for (reason, count) in counts.objectValue?.members ?? [] {
                plan.decision.away[reason] = count.intValue.map(Int.init)
            }
        }
        plan.decision.tookMilliseconds = (MonotonicTime.now() - began).inSeconds * 1000
        let left = try await withSpan("engine.leave") { [plan] in
            try await sessions.leave(tenant, session.id, plan, end)
        }
        return RunResult(
            outcome: end.outcome,
            reason: end.reason,
            agentID: nil,
            strategy: plan.decision.strategy,
            decisionID: plan.decision.id,
            session: left ?? session
        )
    }

    /// The shared counter is away: nothing about the owner changes, and a timer tries again.
    func fail(
        _ tenant: Tenant,
        _ session: Session,
        _ plan: RunPlan,
        _ error: CoordinationError,
        since began: MonotonicTime
    ) async throws -> RunResult {
        // Told of once a minute: an outage makes this the end of every run.
        Degradation.note("round_robin")
        logger.debug(
            "round robin is not to be had: the session stays queued",
            metadata: ["session_id": "\(session.id.text)", "reason": "\(error)"]
        )
        var plan = plan
        plan.end = Ending(outcome: .error, reason: "redis_unavailable")
        plan.wishes = [:]
        let result = try await leave(tenant, session, plan, since: began)
        try await retries.schedule(tenant, session.id)
        return result
    }

    /// Somebody has it, or it is out of the automatic queue: there was nothing to decide.
    func settled(_ session: Session, _ document: JSON) -> RunResult {
        let owner = document["assignee_id"]?.uuidValue
        return RunResult(
            outcome: owner == nil ? .stop : .assign,
            reason: owner == nil ? session.state : "already_assigned",
            agentID: owner,
            strategy: nil,
            decisionID: nil,
            session: session
        )
    }
}
