internal import FoundationEssentials
internal import JSON
internal import Platform

/// A session as the engine looks at it.
struct SessionFacts: Sendable {
    var teamID: UUID?
    var contactID = ""
    var priority = 2
    var source = "handover"
    var context: JSON = [:]
    /// Capacity that it takes.
    var units = 1
    /// Milliseconds since 1970; survives every requeue.
    var enqueuedAt: Int64 = 0
    var excluded: Set<UUID> = []
    var declined: [UUID: Int64] = [:]
    var skills: [SkillDemand] = []
    /// Who is asked first, whatever the contact's owner: the owner before a reopening.
    var preferred: UUID?

    init() {}

    /// Reads a session as `assignment.session_json` makes it, or as a caller of the simulation
    /// describes it.
    init(_ json: JSON, now: Int64 = 0) {
        teamID = json["team_id"]?.uuidValue
        contactID = json["contact_id"]?.stringValue ?? ""
        priority = json["priority"]?.intValue.map(Int.init) ?? 2
        source = json["source"]?.stringValue ?? "handover"
        context = json["context"] ?? [:]
        units = json["units"]?.intValue.map(Int.init) ?? 1
        enqueuedAt = json["enqueued_at"]?.stringValue.flatMap(RFC3339.parse) ?? now
        excluded = Set((json["excluded_agent_ids"]?.arrayValue ?? []).compactMap(\.uuidValue))
        skills = (json["required_skills"]?.arrayValue ?? []).compactMap(SkillDemand.init)
        for (agent, until) in json["declined"]?.objectValue?.members ?? [] {
            guard let agent = UUID(text: agent), let until = until.intValue else { continue }
            declined[agent] = until
        }
    }

    /// The value that a rule's path names.
    func value(_ path: String, now: Int64) -> JSON? {
        switch path {
        case "priority": return .int(Int64(priority))
        case "team_id": return JSON(teamID?.text)
        case "contact_id": return .string(contactID)
        case "source": return .string(source)
        case "wait_s": return .int((now - enqueuedAt) / 1000)
        default:
            let parts = path.split(separator: ".").map(String.init)
            guard parts.first == "context" else { return nil }
            return parts.dropFirst().reduce(Optional(context)) { $0?[$1] }
        }
    }

    /// The session with what a rule said about it.
    func with(_ effect: RuleEffect) -> SessionFacts {
        var changed = self
        changed.teamID = effect.teamID ?? teamID
        changed.priority = effect.priority ?? priority
        changed.skills = effect.skills ?? skills
        return changed
    }
}
