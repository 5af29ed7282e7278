internal import Domain
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
    /// Whether everybody of the team was looked at.
    var isWhole = true
    /// Whether a turn has to be counted before the team is looked at: it is large.
    var countsFirst = false
    /// The team's virtual time under `fair`, where it is known.
    var clock: Double?
    /// What is said of a team of which a part was enough, so that nobody takes it for the whole.
    var partialLook: String? {
        guard !isWhole, choosing?.reason == "assigned" else { return nil }
        let looked = (choosing?.candidates.count ?? 0) + decision.rejected.count
        return
            "the team is large, so only \(looked) of its members were looked at, the next by its "
            + "strategy first"
    }

    /// What changed of the session, as the database's functions take it.
    var wishes: JSON = [:]
}

/// Gathers facts and lets the core decide; reads only, so that a simulation is the same code.
@LoopActor
struct RunPlanner {
    /// A team of at most so many is looked at whole, so that each agent's reason can be told.
    static let wholeRoster = 16
    /// How often a run moves to another team.
    static let movesLimit = 3

    /// Runs that wait for the size of one team's ring.
    static let ringsWaitingMax = 4096

    let sessions: SessionRepository
    private let rings: Gathering<Pool, Void, Int>

    private struct Pool: Hashable, Sendable {
        let tenant: Tenant
        let team: UUID?
    }

    init(sessions: SessionRepository) {
        self.sessions = sessions
        var limits = WriteBatchLimits()
        limits.itemsMax = RunPlanner.ringsWaitingMax
        limits.waitingMax = RunPlanner.ringsWaitingMax
        rings = Gathering(underWayMax: 1, limits: limits) { pool, asked in
            let ring = try await sessions.ring(pool.tenant, team: pool.team)
            return asked.map { ring }
        }
    }

    /// How many share the turns of a team; runs that ask at the same moment are told together, because
    /// it is counted anew each time.
    func ring(_ tenant: Tenant, team: UUID?) async throws -> Int {
        try await rings.ask((), of: Pool(tenant: tenant, team: team))
    }

    /// Plans a run.
    ///
    /// - Parameters:
    ///   - document: the session, as the API shows it.
    ///   - now: looks at another time than the database's own.
    ///   - preferred: who is asked before anybody else.
    ///   - rules: other rules than those in force.
    ///   - isSticky: whether the contact's own agent is asked first.
    ///   - turn: the index that the shared counter gave; a large team is looked at from there on.
    func plan(
        _ tenant: Tenant,
        _ document: JSON,
        source: RunSource,
        at now: Int64? = nil,
        preferred: UUID? = nil,
        rules: RuleSet? = nil,
        isSticky: Bool = true,
        turn: Int? = nil
    ) async throws -> RunPlan {
        var session = SessionFacts(document)
        session.preferred = preferred
        let first = RosterPage(turn: turn)
        var facts = try await look(tenant, session, first, at: now)
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
            let also = effect.agents ?? []
            facts = try await look(tenant, plan.session, first, also: also, at: now)
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
            plan.decision.rejected = core.rejected
            switch core.decide() {
            case .end(let ending): plan.end = ending
            case .choose(let choosing):
                plan.choosing = choosing
                plan.decision.rejected = choosing.rejected ?? plan.decision.rejected
                plan.countsFirst =
                    choosing.strategy == .roundRobin && !facts.isWhole && !core.collects
            case .move(let team, _):
                plan.session.teamID = team
                facts = try await look(tenant, plan.session, first, at: now)
            case .further(let page):
                facts = try await look(tenant, plan.session, page, after: core.found, at: now)
            }
        }
        plan.policy = facts.policy
        plan.isWhole = facts.isWhole
        plan.clock = facts.clock
        plan.decision.strategy = facts.policy.strategy
        plan.wishes = RunPlanner.wishes(from: session, to: plan.session)
        return plan
    }

    private func look(
        _ tenant: Tenant,
        _ session: SessionFacts,
        _ page: RosterPage,
        also: [UUID] = [],
        after earlier: RunFacts.Earlier = RunFacts.Earlier(),
        at now: Int64?
    ) async throws -> RunFacts {
        var facts = try await sessions.facts(
            tenant,
            contact: session.contactID,
            team: session.teamID,
            also: page.isFurther ? nil : also + [session.preferred].compactMap(\.self),
            page
        )
        if let now { facts.now = now }
        facts.keep(page, after: earlier)
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
