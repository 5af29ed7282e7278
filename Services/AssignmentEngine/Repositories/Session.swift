internal import FoundationEssentials
internal import JSON
internal import Platform

/// A session as the engine needs it, and as the API shows it.
struct Session: Sendable {
    let id: UUID
    let teamID: UUID?
    let state: String
    /// Capacity that it takes.
    let units: Int
    let document: JSON

    /// Whether nobody has said yet why it waits: its own run was cut off.
    var isUnexplained: Bool { document["reason"]?.isNull ?? true }

    /// Whether it asks for more than any member of its team: its own skip says nothing of others.
    var isParticular: Bool {
        for name in ["required_skills", "excluded_agent_ids"] {
            if document[name]?.arrayValue?.isEmpty == false { return true }
        }
        return document["declined"]?.objectValue?.isEmpty == false || units > 1
    }

    /// Whether its next run leaves out the owner that it had.
    var leavesOutOwner: Bool { document["excluded_agent_ids"]?.arrayValue?.isEmpty == false }

    /// Reads what `assignment.session_json` made.
    init?(_ document: JSON) {
        guard let id = document["id"]?.uuidValue,
            let state = document["state"]?.stringValue
        else { return nil }
        self.id = id
        self.state = state
        units = Int(document["units"]?.intValue ?? 1)
        teamID = document["team_id"]?.uuidValue
        self.document = document
    }
}

/// Where a session stands.
enum SessionState: String, Sendable, CaseIterable {
    case queued, offered, assigned, parked, closed
    case onHold = "on_hold"
}

/// How a claim ended.
struct Claim: Sendable {
    enum Result: String, Sendable {
        case assigned, taken, busy
        /// Nothing was done: it has to be claimed by itself.
        case alone
        case noCapacity = "no_capacity"
    }

    let result: Result
    let agentID: UUID?
    let session: Session?
}

/// What a list of sessions is narrowed to.
struct SessionFilter: Sendable {
    var state: String?
    var team: UUID?
    var agent: UUID?
    var before: UUID?
    var limit = 50
}
