internal import Coordination
internal import EventLoop
internal import FoundationEssentials

/// How one of the candidates is chosen.
///
/// Each gives an order; the first who has room when the claim is made gets the session.
enum Strategy: String, Sendable, CaseIterable {
    /// Turns by a counter that all instances share.
    case roundRobin = "round_robin"
    /// Even shares by weight, also when people come and go.
    case fair
    /// Who waited longest since the last assignment.
    case leastRecentlyAssigned = "least_recently_assigned"
    /// Who has the least open work.
    case leastActive = "least_active"
    /// Who has the most room.
    case mostAvailable = "most_available"

    /// The candidates in the order in which they are tried; `round_robin` needs its index, and `fair`
    /// the team's virtual time.
    func order(_ candidates: [Candidate], index: Int = 0, clock: Double? = nil) -> [Candidate] {
        switch self {
        case .roundRobin: Strategy.pickRoundRobinFromCandidates(candidates, index: index)
        case .fair: Strategy.byShare(candidates, clock: clock)
        case .leastRecentlyAssigned: candidates.sorted(by: Strategy.longestWithout)
        case .leastActive:
            candidates.sorted { left, right in
                left.activeUnits == right.activeUnits
                    ? Strategy.longestWithout(left, right) : left.activeUnits < right.activeUnits
            }
        case .mostAvailable:
            candidates.sorted { left, right in
                left.freeUnits == right.freeUnits
                    ? Strategy.longestWithout(left, right) : left.freeUnits > right.freeUnits
            }
        }
    }

    /// The ring from `index` on: whoever follows is tried when the claim of one fails.
    static func pickRoundRobinFromCandidates(
        _ candidates: [Candidate],
        index: Int
    ) -> [Candidate] {
        guard !candidates.isEmpty else { return [] }
        let start = index % candidates.count
        return Array(candidates[start...] + candidates[..<start])
    }

    /// Whoever is furthest behind its share, or with a fixed roster the earliest virtual deadline.
    ///
    /// - As long as all that anybody is owed lies among the candidates, the earliest deadline goes
    ///   first, of those who have not had more than their share so far: nobody is then ever a whole
    ///   session away from it, whatever the weights. (The lowest virtual time alone serves each of many
    ///   small weights before a large one.)
    /// - Somebody who left while a part of a session was owed takes that along, and the others cannot
    ///   be even. No rule keeps everybody within one session then: of n people, somebody can be brought
    ///   1/2 + 1/3 + … + 1/n away from any. Giving to whoever is most behind, in sessions and not in
    ///   virtual time, comes nearest (Coppersmith and others, "The optimality of the online greedy
    ///   algorithm in carpool and chairman assignment problems", 2011); of three people it keeps all
    ///   within one anyway.
    ///
    /// - Parameter clock: the team's virtual time; nil takes it from the candidates.
    private static func byShare(_ candidates: [Candidate], clock: Double?) -> [Candidate] {
        let weight = Double(max(1, candidates.reduce(0) { $0 + $1.weight }))
        let reached =
            candidates.reduce(0) { $0 + Double($1.weight) * $1.virtualTime } / weight
        let clock = clock ?? reached
        let isOwedElsewhere = abs(reached - clock) * weight / 100 >= 1e-6
        let behind = isOwedElsewhere || candidates.count <= 3
        // When this one is given, what is due has grown by it.
        let due = clock + 100 / weight
        func rank(_ agent: Candidate) -> (Double, Double) {
            let deadline = agent.virtualTime + 100 / Double(agent.weight)
            return behind
                ? ((agent.virtualTime - due) * Double(agent.weight), deadline)
                : (agent.virtualTime > reached + 1e-9 ? 1 : 0, deadline)
        }
        return candidates.sorted { left, right in
            let (one, other) = (rank(left), rank(right))
            return one == other ? left.id < right.id : one < other
        }
    }

    private static func longestWithout(_ left: Candidate, _ right: Candidate) -> Bool {
        switch (left.lastAssignedAt, right.lastAssignedAt) {
        case (nil, nil): left.id < right.id
        case (nil, _): true
        case (_, nil): false
        case (let one?, let other?):
            one == other ? left.id < right.id : one < other
        }
    }
}

/// What a strategy chose.
struct Choice: Sendable {
    let order: [Candidate]
    /// The index that the shared counter gave; nil for strategies without one.
    let roundRobinIndex: Int?
}

/// Applies a team's strategy; the counter is injected and never made here.
@LoopActor
struct StrategyDispatcher {
    let contexts: any RoundRobinContextProvider

    /// Orders the candidates of a session.
    ///
    /// Counts one turn, and none when nobody is there or the run has its turn already.
    ///
    /// - Parameters:
    ///   - turn: the index that an earlier look of the same run was given.
    ///   - clock: the team's virtual time under `fair`.
    /// - Throws: `CoordinationError` when the shared counter cannot be reached.
    func pickAgentForSession(
        _ candidates: [Candidate],
        strategy: Strategy,
        contextKey: String,
        turn: Int? = nil,
        clock: Double? = nil
    ) async throws(CoordinationError) -> Choice {
        guard !candidates.isEmpty else { return Choice(order: [], roundRobinIndex: nil) }
        guard strategy == .roundRobin else {
            return Choice(order: strategy.order(candidates, clock: clock), roundRobinIndex: nil)
        }
        let index: Int
        if let turn {
            index = turn
        } else {
            index = try await pickNextRoundRobinId(
                among: candidates.count,
                contextKey: contextKey
            )
        }
        return Choice(order: strategy.order(candidates, index: index), roundRobinIndex: index)
    }

    /// The index that the next turn will have; none is counted.
    func peek(contextKey: String, candidateCount: Int) async throws(CoordinationError) -> Int {
        try await contexts.peekNextIndex(contextKey: contextKey, candidateCount: candidateCount)
    }

    /// Counts a turn among so many candidates: an index from 0 on.
    func pickNextRoundRobinId(
        among count: Int,
        contextKey: String
    ) async throws(CoordinationError) -> Int {
        try await contexts.getNextIndex(contextKey: contextKey, candidateCount: count)
    }
}
