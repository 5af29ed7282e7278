internal import EventLoop
internal import FoundationEssentials
internal import JSON
internal import Platform

/// What a run would do, before anything is claimed.
struct RunPlan: Sendable {
    var decision: Decision
    /// The session with everything that rules and overflow made of it.
    var session: SessionFacts
    var policy = TeamPolicy()
    var end: Ending?
    var choosing: Choosing?
    /// What changed of the session, as the database's functions take it.
    var wishes: JSON = [:]
}

/// Gathers facts and lets the core decide; reads only, so that a simulation is the same code.
@LoopActor
struct RunPlanner {
    /// A team of at most so many is looked at whole, so that each agent's reason can be told.
    static let wholeRoster = 200
    /// No team is larger than that.
    static let largestRoster = 1_000_000
    /// How often a run moves to another team.
    static let movesLimit = 3

    let sessions: SessionRepository

    /// Plans a run.
    ///
    /// - Parameters:
    ///   - document: the session, as the API shows it.
    ///   - now: looks at another time than the database's own.
    ///   - preferred: who is asked before anybody else.
    ///   - rules: other rules than those in force.
    ///   - isSticky: whether the contact's own agent is asked first.
    func plan(
        _ tenant: Tenant,
        _ document: JSON,
        source: RunSource,
        at now: Int64? = nil,
        preferred: UUID? = nil,
        rules: RuleSet? = nil,
        isSticky: Bool = true
    ) async throws -> RunPlan {
        var session = SessionFacts(document)
        session.preferred = preferred
        var facts = try await look(tenant, session, at: now)
        if session.enqueuedAt == 0 { session.enqueuedAt = facts.now }
        let decision = Decision(source: source, reason: "no_members", strategy: .roundRobin)
        var plan = RunPlan(decision: decision, session: session)
        let verdict = (rules ?? facts.rules).evaluate { [session, now = facts.now] path in
            session.value(path, now: now)
        }
        plan.decision.policyVersion = facts.policyVersion
        plan.decision.rule = verdict.rule
        if let stop = verdict.effect.stop {
            plan.end = Ending(outcome: .stop, reason: "rule:\(stop)")
        }
        var effect = verdict.effect
        // Where an overflow or a transfer has taken it, it stays.
        if source != .handover, session.teamID != nil { effect.teamID = nil }
        plan.session = session.with(effect)
        if plan.session.teamID != session.teamID || effect.agents != nil
            || plan.session.skills.isEmpty != session.skills.isEmpty
        {
            facts = try await look(tenant, plan.session, also: effect.agents ?? [], at: now)
        }
        var visited: Set<UUID> = []
        while plan.end == nil, plan.choosing == nil {
            visited.insert(plan.session.teamID ?? tenant.id)
            let core = DecisionCore(
                plan.session,
                facts,
                named: effect.agents,
                visited: visited.count > RunPlanner.movesLimit
                    ? visited.union(facts.policy.overflowTeamID.map { [$0] } ?? []) : visited,
                isSticky: isSticky
            )
            plan.decision.rejected = core.pipeline.rejected
            switch core.decide() {
            case .end(let ending): plan.end = ending
            case .choose(let choosing):
                plan.choosing = choosing
                plan.decision.rejected = choosing.rejected ?? plan.decision.rejected
            case .move(let team, _):
                plan.session.teamID = team
                facts = try await look(tenant, plan.session, at: now)
            }
        }
        plan.policy = facts.policy
        plan.decision.strategy = facts.policy.strategy
        plan.wishes = RunPlanner.wishes(from: session, to: plan.session)
        return plan
    }

    private func look(
        _ tenant: Tenant,
        _ session: SessionFacts,
        also: [UUID] = [],
        at now: Int64?
    ) async throws -> RunFacts {
        var facts = try await sessions.facts(
            tenant,
            contact: session.contactID,
            team: session.teamID,
            also: also + [session.preferred].compactMap(\.self),
            whole: !session.skills.isEmpty
        )
        if let now { facts.now = now }
        return facts
    }

    private static func wishes(from old: SessionFacts, to new: SessionFacts) -> JSON {
        var wishes: JSONObject = [:]
        if old.teamID != new.teamID { wishes["team_id"] = JSON(new.teamID?.text) }
        if old.priority != new.priority { wishes["priority"] = .int(Int64(new.priority)) }
        if old.skills != new.skills { wishes["skills"] = .array(new.skills.map(\.document)) }
        return .object(wishes)
    }
}

extension SkillDemand {
    /// The demand as it is stored.
    var document: JSON {
        [
            "name": .string(name), "min": .int(Int64(minimum)),
            "relax_after_s": JSON(relaxAfter), "drop_after_s": JSON(dropAfter),
        ]
    }
}
