internal import FoundationEssentials
internal import JSON
internal import Platform

/// The decision itself: facts in, verdict out, no clock and no store.
struct DecisionCore: Sendable {
    let session: SessionFacts
    let facts: RunFacts
    let demands: Demands
    let pipeline: CandidatePipeline
    /// Everybody who was looked at and may not have it, by the pages before, too.
    let rejected: [(agent: UUID, reason: Rejection)]
    let isSomebodyOnShift: Bool
    /// What the rules said: the agents that a rule names.
    let named: [UUID]?
    /// Teams that this run has been in: an overflow never leads back.
    let visited: Set<UUID>
    /// Whether the contact's own agent is asked for.
    let isSticky: Bool

    init(
        _ session: SessionFacts,
        _ facts: RunFacts,
        named: [UUID]? = nil,
        visited: Set<UUID> = [],
        isSticky: Bool = true
    ) {
        self.session = session
        self.facts = facts
        self.named = named
        self.visited = visited
        self.isSticky = isSticky
        demands = DecisionCore.demands(session, facts)
        pipeline = CandidatePipeline(roster: facts.roster, demands: demands)
        rejected = facts.earlier.rejected + pipeline.rejected
        isSomebodyOnShift =
            facts.earlier.isSomebodyOnShift
            || facts.roster.contains { [demands] in $0.isMember && demands.isOnShift($0) }
    }

    /// What a further look has to know of this one.
    var found: RunFacts.Earlier {
        RunFacts.Earlier(
            candidates: candidates,
            rejected: rejected,
            isSomebodyOnShift: isSomebodyOnShift
        )
    }

    /// Turns among the few who have a skill are counted among all of these: there a turn of the whole
    /// ring would favour whoever stands behind a long row of others.
    var collects: Bool {
        !facts.isWhole && facts.policy.strategy == .roundRobin && !session.skills.isEmpty
    }

    private var candidates: [Candidate] { facts.earlier.candidates + pipeline.candidates }

    private static func demands(_ session: SessionFacts, _ facts: RunFacts) -> Demands {
        var demands = Demands(now: facts.now, units: session.units)
        demands.blocked = facts.blocked
        demands.excluded = session.excluded
        demands.declined = session.declined
        demands.skills = session.skills
        demands.waited = facts.now - session.enqueuedAt
        demands.schedules = facts.schedules
        demands.teamSchedule = facts.teamSchedule
        demands.teamCapacity = facts.policy.capacityUnits
        demands.newPerAgent = facts.policy.newPerAgent
        return demands
    }

    /// Schedule, contact, strategy: the first that has an answer gives it.
    func decide() -> Verdict {
        if facts.isTeamGone { return .move(team: facts.heir, reason: "team_gone") }
        guard facts.teamExists else { return .end(Ending(outcome: .skip, reason: "no_team")) }
        if let hours = facts.policy.backlogCutoffHours,
            demands.waited > Int64(hours) * 3_600_000
        {
            return .end(Ending(outcome: .stop, reason: "stale_backlog"))
        }
        if named == nil, candidates.isEmpty || collects, let page = facts.nextPage {
            return .further(page)
        }
        return offHours() ?? contactAssigned() ?? strategy()
    }

    // MARK: Schedule

    private func offHours() -> Verdict? {
        guard let schedule = facts.teamSchedule, !schedule.isOpen(at: facts.now),
            !isSomebodyOnShift
        else { return nil }
        switch facts.policy.offHoursAction {
        case .messageOnly:
            return .end(
                Ending(
                    outcome: .stop,
                    reason: "off_hours_message_only",
                    event: "session.off_hours"
                )
            )
        case .overflowTeam:
            if let team = overflow { return .move(team: team, reason: "off_hours") }
        case .holdUntilOpen:
            break
        }
        let opening = schedule.opening(after: facts.now)
        return .end(
            Ending(
                outcome: .stop,
                reason: "off_hours",
                wake: opening.map { Wake(kind: .scheduleOpen, due: $0) },
                note: opening.map {
                    "they begin \(schedule.wallClock($0)), \(schedule.zone.identifier)"
                }
            )
        )
    }

    private var overflow: UUID? {
        facts.policy.overflowTeamID.flatMap { visited.contains($0) ? nil : $0 }
    }

    // MARK: Contact

    /// The contact's own agent, or whom a reopening prefers: it gets the session if it can, and is
    /// waited for if the team says so.
    private func contactAssigned() -> Verdict? {
        guard isSticky, let preferred = session.preferred ?? facts.preferred, named == nil else {
            return nil
        }
        if let agent = candidates.first(where: { $0.id == preferred }) {
            return .choose(
                Choosing(candidates: [agent], strategy: nil, reason: "contact_assigned")
            )
        }
        let until = session.enqueuedAt + Int64(facts.policy.stickyWaitSeconds) * 1000
        guard let reason = rejected.first(where: { $0.agent == preferred })?.reason,
            reason.mayPass, until > facts.now
        else { return nil }
        return .end(
            Ending(
                outcome: .skip,
                reason: "sticky_hold",
                wake: Wake(kind: .stickyHold, due: until)
            )
        )
    }

    // MARK: Strategy

    private func strategy() -> Verdict {
        if let named {
            let byID = Dictionary(candidates.map { ($0.id, $0) }) { first, _ in first }
            let able = named.compactMap { byID[$0] }
            guard able.isEmpty else {
                return .choose(
                    Choosing(candidates: able, strategy: nil, reason: "rule_assigned")
                )
            }
        } else if !candidates.isEmpty {
            let isInTurn = facts.isFromTurn && !collects
            return .choose(
                Choosing(
                    candidates: isInTurn ? fromTurn : candidates.sorted { $0.id < $1.id },
                    strategy: isInTurn ? nil : facts.policy.strategy,
                    reason: "assigned"
                )
            )
        }
        return nobody()
    }

    /// The ring from whose turn it is on.
    private var fromTurn: [Candidate] {
        guard let first = facts.roster.first else { return [] }
        return pipeline.candidates.filter { !($0.id < first.id) }
            + pipeline.candidates.filter { $0.id < first.id }
    }

    private func nobody() -> Verdict {
        let limit = Int64(facts.policy.maxWaitSeconds) * 1000
        let isOverdue = limit > 0 && demands.waited >= limit
        if isOverdue, let verdict = overdue() { return verdict }
        var wakes: [Wake] = []
        if let step = session.skills.compactMap({ $0.nextStep(after: demands.waited) }).min() {
            wakes.append(Wake(kind: .skillRelax, due: session.enqueuedAt + step))
        }
        if limit > 0, !isOverdue, facts.policy.noAgentAction != .wait {
            wakes.append(Wake(kind: .maxWait, due: session.enqueuedAt + limit))
        }
        return .end(
            Ending(
                outcome: .skip,
                reason: reason,
                wake: wakes.min { $0.due < $1.due },
                event: isOverdue && facts.policy.noAgentAction == .askContact
                    ? "session.ask_contact" : nil
            )
        )
    }

    private var reason: String {
        if facts.isWhole, !facts.roster.contains(where: \.isMember) { return "no_members" }
        let reasons = rejected.map(\.reason)
        // Told apart from "nobody is free": waiting alone will not help.
        let isUnskilled = reasons.contains(.missingSkill) && !reasons.contains(where: \.mayPass)
        return isUnskilled ? "missing_skill" : "no_candidates"
    }

    private func overdue() -> Verdict? {
        switch facts.policy.noAgentAction {
        case .wait, .askContact: return nil
        case .overflowTeam: return overflow.map { .move(team: $0, reason: "max_wait") }
        case .assignOffline:
            if !facts.isWhole, !facts.isOfAbsent { return .further(.absent) }
            var demands = demands
            demands.ignoresPresence = true
            let able = CandidatePipeline(roster: facts.roster, demands: demands)
            guard !able.candidates.isEmpty else { return nil }
            return .choose(
                Choosing(
                    candidates: able.candidates,
                    strategy: .leastRecentlyAssigned,
                    reason: "assigned_offline",
                    takesAbsent: true,
                    rejected: able.rejected
                )
            )
        }
    }
}
