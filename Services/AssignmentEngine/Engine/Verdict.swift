internal import FoundationEssentials

/// When a run is to be made again by itself, and why then.
struct Wake: Sendable, Hashable {
    enum Kind: String, Sendable {
        case stickyHold = "sticky_hold"
        case skillRelax = "skill_relax"
        case scheduleOpen = "schedule_open"
        case maxWait = "max_wait"
    }

    let kind: Kind
    /// Milliseconds since 1970.
    let due: Int64
}

/// Why a run came to its end without an owner.
struct Ending: Sendable, Hashable {
    let outcome: Outcome
    let reason: String
    var wake: Wake?
    /// An event to leave, once for a session.
    var event: String?
    /// What else a person wants to know.
    var note: String?
}

/// Who may get the session, and how the claim is to treat them.
struct Choosing: Sendable {
    let candidates: [Candidate]
    /// Nil: the candidates are in their order already.
    let strategy: Strategy?
    let reason: String
    /// Whether those who are away may have it.
    var takesAbsent = false
    /// Who is left out, where that is not what the first look says.
    var rejected: [(agent: UUID, reason: Rejection)]?
}

/// What the facts lead to.
enum Verdict: Sendable {
    case end(Ending)
    case choose(Choosing)
    /// The session belongs to another team now, or without one to anybody of the tenant; look there.
    case move(team: UUID?, reason: String)
    /// Nobody of this part of a large team can have it: look at the next.
    case further(RosterPage)
}
