import Foundation
import JSON

@testable import assignment_engine

/// Faults that the model can be given: each breaks one thing that the real store does, and the
/// simulation has to notice.
enum PlantedBug: String, CaseIterable, Sendable {
    case claimIgnoresState, claimIgnoresRoom, claimIgnoresStatus, claimIgnoresTeamCap
    case closeKeepsUnits, holdFreesTwice, transferKeepsUnits, resumeTakesNothing
    case declineIsForgotten, skipHasNoReason, skillsAreIgnored, comebackCarriesNothing
}

/// A model of the store: sessions, agents and memberships.
///
/// Its conditions are those of the functions of the database. The decision itself is the product's
/// own.
struct World {
    struct Agent {
        let id: UUID
        var isOnline = true
        var isAccepting = true
        var isPresent = true
        var capacity = 2
        var active = 0
        var skills: [String: Int] = [:]
    }

    struct Member {
        let agent: Int
        var virtualTime = 0.0
        var weight = 100
        var units = 0
        var last: Int64?
    }

    struct Session {
        var facts = SessionFacts()
        var team = 0
        var state = "queued"
        var owner: Int?
        var reason: String?
        /// Whether a run of the engine has ended for it since it was queued.
        var isLookedAt = false
        var holdsUnits: Bool { state == "assigned" }
    }

    /// What somebody did, with what it led to here.
    enum Deed {
        case arrive(session: Int)
        case claim(session: Int, order: [UUID], takesAbsent: Bool, winner: Int?)
        case skip(session: Int, reason: String)
        case close(Int), hold(Int), resume(Int), requeue(Int)
        case transfer(Int, to: Int)
        case change(agent: Int, Agent)
        case join(agent: Int, team: Int), leave(agent: Int, team: Int)
    }

    /// A run that has decided and not yet claimed: another instance, paused.
    struct PendingClaim {
        let session: Int
        let order: [Candidate]
        let takesAbsent: Bool
        /// Nothing changed since its look.
        var isFresh = true
    }

    var now: Int64 = 1_000_000_000_000
    var agents: [Agent] = []
    var teams: [[Member]] = []
    var policies: [TeamPolicy] = []
    var sessions: [Session] = []
    var turns: [Int] = []
    /// Teams of which a look sees a part only.
    var large: Set<Int> = []
    var pending: [PendingClaim] = []
    /// What was done, for a replay on the real store.
    var deeds: [Deed] = []
    let bug: PlantedBug?

    init(bug: PlantedBug?) {
        self.bug = bug
    }

    // MARK: The engine's own look and decision

    func facts(_ session: Session, _ page: RosterPage, _ earlier: RunFacts.Earlier) -> RunFacts {
        var facts = RunFacts(now: now)
        facts.policy = policies[session.team]
        let members = self.members(of: session.team)
        facts.roster = members
        guard large.contains(session.team) else { return facts }
        let away = members.filter { !isThere($0) || $0.freeUnits <= 0 }
        let rows = page.isOfAbsent ? away.filter { $0.freeUnits > 0 } : able(members, session.team)
        let part = rows.dropFirst(page.from).prefix(page.limit)
        facts.isWhole = false
        facts.roster = Array(part) + (page.isFurther ? [] : away.prefix(page.limit))
        facts.pageCount = part.count
        facts.keep(page, after: earlier)
        return facts
    }

    private func members(of team: Int) -> [Candidate] {
        teams[team].map { member in
            let agent = agents[member.agent]
            var candidate = Candidate(id: agent.id, name: "")
            candidate.weight = member.weight
            candidate.virtualTime = member.virtualTime
            candidate.status = agent.isOnline ? "online" : "offline"
            candidate.isAccepting = agent.isAccepting
            candidate.isPresent = agent.isPresent
            candidate.capacityUnits = agent.capacity
            candidate.activeUnits = agent.active
            candidate.teamUnits = member.units
            candidate.skills = agent.skills
            candidate.lastAssignedAt = member.last
            return candidate
        }
    }

    private func isThere(_ agent: Candidate) -> Bool {
        agent.status == "online" && agent.isAccepting && agent.isPresent
    }

    /// As the store's indexes have them: who can be chosen, in the order of the strategy.
    private func able(_ members: [Candidate], _ team: Int) -> [Candidate] {
        policies[team].strategy
            .order(members.sorted { $0.id < $1.id }.filter { isThere($0) && $0.freeUnits > 0 })
    }

    /// Looks and decides; nil when the session stays where it is, with the reason kept.
    mutating func decide(_ index: Int) -> PendingClaim? {
        guard sessions[index].state == "queued" else { return nil }
        var asked = sessions[index].facts
        if bug == .declineIsForgotten { asked.declined = [:] }
        if bug == .skillsAreIgnored { asked.skills = [] }
        var page = RosterPage()
        page.limit = 1
        var earlier = RunFacts.Earlier()
        while true {
            let core = DecisionCore(asked, facts(sessions[index], page, earlier))
            switch core.decide() {
            case .end(let ending):
                leave(index, ending)
                return nil
            case .move(let team, _):
                sessions[index].team = teamIDs.firstIndex { $0 == team } ?? sessions[index].team
                return nil
            case .further(let next):
                page = next
                earlier = core.found
            case .choose(let choosing):
                let team = sessions[index].team
                if choosing.strategy == .roundRobin, !core.collects, !core.facts.isWhole {
                    let ring = able(members(of: team), team).count
                    page = RosterPage(turn: turn(of: team, among: ring))
                    page.limit = 1
                    earlier = RunFacts.Earlier()
                    continue
                }
                var order = choosing.candidates
                if let strategy = choosing.strategy {
                    let index = strategy == .roundRobin ? turn(of: team, among: order.count) : 0
                    order = strategy.order(order, index: index)
                }
                return PendingClaim(
                    session: index,
                    order: order,
                    takesAbsent: choosing.takesAbsent
                )
            }
        }
    }

    private mutating func turn(of team: Int, among count: Int) -> Int {
        turns[team] += 1
        return (turns[team] - 1) % count
    }

    private mutating func leave(_ index: Int, _ ending: Ending) {
        sessions[index].isLookedAt = true
        deeds.append(.skip(session: index, reason: ending.reason))
        if bug != .skipHasNoReason { sessions[index].reason = ending.reason }
        if ending.outcome == .stop { sessions[index].state = "parked" }
        sessions[index].facts.excluded = []
    }

    var teamIDs: [UUID] { teams.indices.map { id(900 + $0) } }

    // MARK: What the database's functions do

    /// Claims for the first of the order that may have it.
    mutating func claim(_ claim: PendingClaim) throws {
        let session = sessions[claim.session]
        guard session.state == "queued" || bug == .claimIgnoresState, session.state != "closed"
        else { return }
        for candidate in claim.order {
            guard let agent = agents.firstIndex(where: { $0.id == candidate.id }),
                mayTake(agent, session, absent: claim.takesAbsent)
            else { continue }
            try check(agent, claim)
            deeds.append(deed(claim, winner: agent))
            give(claim.session, to: agent)
            return
        }
        deeds.append(deed(claim, winner: nil))
        leave(claim.session, Ending(outcome: .skip, reason: "no_capacity"))
    }

    private func deed(_ claim: PendingClaim, winner: Int?) -> Deed {
        .claim(
            session: claim.session,
            order: claim.order.map(\.id),
            takesAbsent: claim.takesAbsent,
            winner: winner
        )
    }

    private func mayTake(_ index: Int, _ session: Session, absent: Bool) -> Bool {
        let agent = agents[index]
        let units = session.facts.units
        if bug != .claimIgnoresRoom, agent.active + units > agent.capacity { return false }
        if bug != .claimIgnoresStatus, !absent,
            !(agent.isOnline && agent.isAccepting && agent.isPresent)
        {
            return false
        }
        guard bug != .claimIgnoresTeamCap, let cap = policies[session.team].capacityUnits,
            let member = teams[session.team].first(where: { $0.agent == index })
        else { return true }
        return member.units + units <= cap
    }

    mutating func give(_ index: Int, to agent: Int) {
        let units = sessions[index].facts.units
        agents[agent].active += units
        let team = sessions[index].team
        for place in teams[team].indices where teams[team][place].agent == agent {
            teams[team][place].units += units
            teams[team][place].virtualTime +=
                Double(units) * 100 / Double(teams[team][place].weight)
            teams[team][place].last = now
        }
        sessions[index].owner = agent
        sessions[index].state = "assigned"
        sessions[index].reason = "assigned"
        sessions[index].facts.excluded = []
    }

    mutating func free(_ index: Int) {
        guard let owner = sessions[index].owner, sessions[index].holdsUnits else { return }
        let units = sessions[index].facts.units
        agents[owner].active -= units
        let team = sessions[index].team
        for place in teams[team].indices where teams[team][place].agent == owner {
            teams[team][place].units = max(0, teams[team][place].units - units)
        }
    }

    mutating func close(_ index: Int) {
        deeds.append(.close(index))
        if bug != .closeKeepsUnits { free(index) }
        sessions[index].owner = nil
        sessions[index].state = "closed"
    }

    mutating func hold(_ index: Int) {
        deeds.append(.hold(index))
        free(index)
        if bug == .holdFreesTwice { free(index) }
        sessions[index].state = "on_hold"
    }

    mutating func resume(_ index: Int) {
        guard let owner = sessions[index].owner else { return }
        let units = sessions[index].facts.units
        let cap = policies[sessions[index].team].capacityUnits ?? Int.max
        let carried = teams[sessions[index].team].first { $0.agent == owner }?.units ?? 0
        guard agents[owner].active + units <= agents[owner].capacity, carried + units <= cap
        else { return }
        deeds.append(.resume(index))
        if bug == .resumeTakesNothing {
            sessions[index].state = "assigned"
        } else {
            give(index, to: owner)
        }
    }

    mutating func requeue(_ index: Int, declined: Bool) {
        guard let owner = sessions[index].owner else { return }
        deeds.append(.requeue(index))
        free(index)
        if declined { sessions[index].facts.declined[agents[owner].id] = now + 600_000 }
        sessions[index].facts.excluded = [agents[owner].id]
        sessions[index].owner = nil
        sessions[index].state = "queued"
        sessions[index].reason = "declined"
        sessions[index].isLookedAt = false
    }

    mutating func transfer(_ index: Int, to agent: Int) {
        guard agents[agent].active + sessions[index].facts.units <= agents[agent].capacity,
            sessions[index].owner != agent,
            teams[sessions[index].team].contains(where: { $0.agent == agent })
        else { return }
        deeds.append(.transfer(index, to: agent))
        if bug != .transferKeepsUnits { free(index) }
        give(index, to: agent)
    }

    /// Makes an agent a member, or ends its membership; what it carries stays with it.
    mutating func toggleMember(_ agent: Int, of team: Int) {
        if let place = teams[team].firstIndex(where: { $0.agent == agent }) {
            deeds.append(.leave(agent: agent, team: team))
            teams[team].remove(at: place)
        } else {
            deeds.append(.join(agent: agent, team: team))
            var member = Member(agent: agent)
            let carried = sessions.filter {
                $0.team == team && $0.owner == agent && $0.holdsUnits
            }
            if bug != .comebackCarriesNothing {
                member.units = carried.reduce(0) { $0 + $1.facts.units }
            }
            teams[team].append(member)
        }
    }
}
