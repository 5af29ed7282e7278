internal import FoundationEssentials

/// A member of the roster, with the facts that choosing needs.
struct Candidate: Sendable, Hashable {
    let id: UUID
    let name: String
    /// The agent's share under `fair`; 100 is a whole one.
    var weight = 100
    /// Whether the membership takes part in automatic choice.
    var autoAssign = true
    /// Virtual time under `fair`.
    var virtualTime = 0.0
    var status = "online"
    var isAccepting = true
    var isPresent = true
    var capacityUnits = 3
    var activeUnits = 0
    /// Milliseconds since 1970 of the last assignment from this team; nil for never.
    var lastAssignedAt: Int64?

    var freeUnits: Int { capacityUnits - activeUnits }
}

/// Why an agent of the roster is not a candidate.
///
/// The order is the order of the checks, and an agent keeps the first that applies.
enum Rejection: String, Sendable, Hashable, CaseIterable {
    case autoAssignOff = "auto_assign_off"
    case notAccepting = "not_accepting"
    case offline
    case atCapacity = "at_capacity"

    /// What the console says of it.
    var explanation: String {
        switch self {
        case .autoAssignOff: "take no automatic assignments in this team"
        case .notAccepting: "do not accept new work"
        case .offline: "are not online"
        case .atCapacity: "are at their capacity"
        }
    }
}

/// The roster, divided into those who may get the session and those who may not.
struct CandidatePipeline: Sendable, Equatable {
    /// By id, so that every instance sees the same order.
    let candidates: [Candidate]
    let rejected: [(agent: UUID, reason: Rejection)]

    /// Divides `roster` for a session that needs `units`.
    init(roster: [Candidate], units: Int) {
        var candidates: [Candidate] = []
        var rejected: [(agent: UUID, reason: Rejection)] = []
        for agent in roster.sorted(by: { $0.id.uuidString < $1.id.uuidString }) {
            if let reason = CandidatePipeline.rejection(of: agent, units: units) {
                rejected.append((agent.id, reason))
            } else {
                candidates.append(agent)
            }
        }
        self.candidates = candidates
        self.rejected = rejected
    }

    /// The first reason against an agent, or nil.
    static func rejection(of agent: Candidate, units: Int) -> Rejection? {
        if !agent.autoAssign { return .autoAssignOff }
        if !agent.isAccepting || agent.status == "busy" { return .notAccepting }
        if agent.status != "online" || !agent.isPresent { return .offline }
        if agent.freeUnits < units { return .atCapacity }
        return nil
    }

    /// How many were rejected for each reason.
    var counts: [Rejection: Int] {
        rejected.reduce(into: [:]) { $0[$1.reason, default: 0] += 1 }
    }

    static func == (left: CandidatePipeline, right: CandidatePipeline) -> Bool {
        left.candidates == right.candidates
            && left.rejected.map(\.agent) == right.rejected.map(\.agent)
            && left.rejected.map(\.reason) == right.rejected.map(\.reason)
    }
}
