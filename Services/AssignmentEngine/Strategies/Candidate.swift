internal import FoundationEssentials

/// A member of the roster, with the facts that choosing needs.
struct Candidate: Sendable, Hashable {
    let id: UUID
    let name: String
    /// Whether the agent belongs to the team; others are looked at when somebody names them.
    var isMember = true
    /// Whether the agent may answer customers.
    var mayReply = true
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
    /// What it carries for this team.
    var teamUnits = 0
    /// Skill levels by name.
    var skills: [String: Int] = [:]
    /// The agent's own hours, which go before the team's.
    var scheduleID: UUID?
    /// How many it got in the flood control's window, which began then.
    var windowCount = 0
    var windowBeganAt: Int64?
    /// Milliseconds since 1970 of the last assignment from this team; nil for never.
    var lastAssignedAt: Int64?

    var freeUnits: Int { capacityUnits - activeUnits }
}

/// Why an agent of the roster is not a candidate.
///
/// The order is the order of the checks, and an agent keeps the first that applies.
enum Rejection: String, Sendable, Hashable, CaseIterable {
    case notMember = "not_member"
    case noReplyPermission = "no_reply_permission"
    case autoAssignOff = "auto_assign_off"
    case blockedForContact = "blocked_for_contact"
    case excludedPreviousOwner = "excluded_previous_owner"
    case declinedRecently = "declined_recently"
    case missingSkill = "missing_skill"
    case offSchedule = "off_schedule"
    case notAccepting = "not_accepting"
    case offline
    case atCapacity = "at_capacity"
    case agentRateLimited = "agent_rate_limited"

    /// What is said of them, after their number.
    var explanation: String {
        switch self {
        case .notMember: "not in the team"
        case .noReplyPermission: "without the permission to reply"
        case .autoAssignOff: "taking no automatic assignments in this team"
        case .blockedForContact: "blocked for this contact"
        case .excludedPreviousOwner: "the owner before"
        case .declinedRecently: "declined it recently"
        case .missingSkill: "without a skill that is asked for"
        case .offSchedule: "outside their hours"
        case .notAccepting: "not accepting new work"
        case .offline: "not online"
        case .atCapacity: "at capacity"
        case .agentRateLimited: "given enough new sessions for the moment"
        }
    }

    /// Whether it may pass by itself soon, so that a contact's own agent is worth a wait.
    var mayPass: Bool {
        switch self {
        case .notAccepting, .offline, .atCapacity, .agentRateLimited, .offSchedule: true
        case .notMember, .noReplyPermission, .autoAssignOff, .blockedForContact,
            .excludedPreviousOwner, .declinedRecently, .missingSkill:
            false
        }
    }
}

/// What the session asks of an agent, beside the agent's own state.
struct Demands: Sendable {
    var now: Int64 = 0
    var units = 1
    var blocked: Set<UUID> = []
    var excluded: Set<UUID> = []
    /// Until when who declined it is left out.
    var declined: [UUID: Int64] = [:]
    var skills: [SkillDemand] = []
    /// How long it has waited, milliseconds.
    var waited: Int64 = 0
    /// Hours by id, and those of the team or tenant.
    var schedules: [UUID: Schedule] = [:]
    var teamSchedule: Schedule?
    var teamCapacity: Int?
    var newPerAgent: (count: Int, windowSeconds: Int)?
    /// Who is away may get it, after everybody else failed.
    var ignoresPresence = false

    /// The first reason against an agent, or nil.
    func rejection(of agent: Candidate) -> Rejection? {
        if let reason = matching(agent) { return reason }
        if !ignoresPresence {
            if !isOnShift(agent) { return .offSchedule }
            if !agent.isAccepting || agent.status == "busy" { return .notAccepting }
            if agent.status != "online" || !agent.isPresent { return .offline }
        }
        if agent.freeUnits < units { return .atCapacity }
        if let teamCapacity, agent.teamUnits + units > teamCapacity { return .atCapacity }
        if isFlooded(agent) { return .agentRateLimited }
        return nil
    }

    /// What does not pass by waiting.
    private func matching(_ agent: Candidate) -> Rejection? {
        if !agent.isMember { return .notMember }
        if !agent.mayReply { return .noReplyPermission }
        if !agent.autoAssign { return .autoAssignOff }
        if blocked.contains(agent.id) { return .blockedForContact }
        if excluded.contains(agent.id) { return .excludedPreviousOwner }
        if let until = declined[agent.id], until > now { return .declinedRecently }
        guard skills.allSatisfy({ $0.isMet(by: agent.skills, after: waited) }) else {
            return .missingSkill
        }
        return nil
    }

    /// Whether the agent's hours, or else the team's, are open.
    func isOnShift(_ agent: Candidate) -> Bool {
        let schedule = agent.scheduleID.flatMap { schedules[$0] } ?? teamSchedule
        return schedule?.isOpen(at: now) ?? true
    }

    private func isFlooded(_ agent: Candidate) -> Bool {
        guard let newPerAgent, let began = agent.windowBeganAt else { return false }
        return agent.windowCount >= newPerAgent.count
            && began > now - Int64(newPerAgent.windowSeconds) * 1000
    }
}

/// The roster, divided into those who may get the session and those who may not.
struct CandidatePipeline: Sendable {
    /// By id, so that every instance sees the same order.
    let candidates: [Candidate]
    let rejected: [(agent: UUID, reason: Rejection)]

    /// Divides `roster` by what a session demands.
    init(roster: [Candidate], demands: Demands) {
        var candidates: [Candidate] = []
        var rejected: [(agent: UUID, reason: Rejection)] = []
        for agent in roster.sorted(by: { $0.id < $1.id }) {
            if let reason = demands.rejection(of: agent) {
                rejected.append((agent.id, reason))
            } else {
                candidates.append(agent)
            }
        }
        self.candidates = candidates
        self.rejected = rejected
    }
}
