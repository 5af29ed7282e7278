internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Platform

extension AssignmentService {
    /// What a run would decide; nothing is written and no turn is counted.
    ///
    /// - Parameters:
    ///   - document: a session as the API shows it, or as much of one as is known.
    ///   - now: the time of the run; nil is the database's own.
    ///   - policyVersion: a version of the rules other than that in force; nil is answered when it was
    ///     never published.
    func simulate(
        _ tenant: Tenant,
        _ document: JSON,
        at now: Int64?,
        policyVersion: Int?
    ) async throws -> JSON? {
        var rules: RuleSet?
        if let policyVersion {
            rules = try await sessions.rules(tenant, version: policyVersion)
            if rules == nil { return nil }
        }
        var plan = try await planner.plan(
            tenant,
            document,
            source: .handover,
            at: now,
            rules: rules
        )
        if plan.countsFirst {
            let turn = try await dispatcher.peek(
                contextKey: contextKey(tenant, plan),
                candidateCount: max(1, planner.ring(tenant, team: plan.session.teamID))
            )
            plan = try await planner.plan(
                tenant,
                document,
                source: .handover,
                at: now,
                rules: rules,
                turn: turn
            )
            plan.decision.roundRobinIndex = turn
        }
        if let policyVersion { plan.decision.policyVersion = policyVersion }
        if let end = plan.end {
            plan.decision.outcome = end.outcome
            plan.decision.reason = end.reason
            plan.decision.note = end.note
        } else if let choosing = plan.choosing {
            plan.decision.outcome = .assign
            plan.decision.reason = choosing.reason
            plan.decision.note = plan.partialLook
            let strategy = choosing.strategy
            let index =
                strategy == .roundRobin
                ? try await dispatcher.peek(
                    contextKey: contextKey(tenant, plan),
                    candidateCount: choosing.candidates.count
                ) : plan.decision.roundRobinIndex
            plan.decision.roundRobinIndex = index
            plan.decision.order =
                strategy?.order(choosing.candidates, index: index ?? 0, clock: plan.clock)
                ?? choosing.candidates
        }
        var answer = plan.decision.document.objectValue ?? [:]
        answer["id"] = nil
        answer["agent_id"] = JSON(plan.decision.order.first?.id.text)
        answer["team_id"] = JSON(plan.session.teamID?.text)
        answer["explanation"] = .string(Explanation.text(of: .object(answer)))
        return .object(answer)
    }
}
