internal import FoundationEssentials
internal import JSON
internal import Platform

/// What a run of the engine knows: read in one look, and nothing else decides.
struct RunFacts: Sendable {
    /// The database's clock, milliseconds since 1970.
    var now: Int64
    /// False when the session names a team that does not exist.
    var teamExists = true
    /// Whether the team was taken out, and which one has its work now; nil: the tenant's pool.
    var isTeamGone = false
    var heir: UUID?
    var policy = TeamPolicy()
    var policyVersion: Int?
    var rules = RuleSet([])
    var schedules: [UUID: Schedule] = [:]
    /// The contact's own agent, by the team's sticky mode.
    var preferred: UUID?
    var blocked: Set<UUID> = []
    /// The team, or of a large one a part of it.
    var roster: [Candidate] = []
    /// Whether the roster is all of the team.
    var isWhole = true
    /// The virtual time of a small team under `fair`; nil where nobody has come to it yet.
    var clock: Double?
    /// How many of the roster are of the page that was asked for.
    var pageCount = 0
    /// What a further look would read; nil when it would find nobody new.
    var nextPage: RosterPage?
    /// Whether the roster is of those who could have it, were they there.
    var isOfAbsent = false
    /// Whether the roster begins with whose turn it is.
    var isFromTurn = false
    /// What the looks before found, when this is a further one.
    var earlier = Earlier()

    /// What is known of the agents that `page` had, with what the looks before found.
    mutating func keep(_ page: RosterPage, after earlier: Earlier) {
        self.earlier = earlier
        guard !isWhole else { return }
        isOfAbsent = page.isOfAbsent
        isFromTurn = page.turn != nil && !isOfAbsent && policy.strategy == .roundRobin
        nextPage = page.next(after: pageCount)
    }

    /// What became of the agents of the pages before.
    struct Earlier: Sendable {
        var candidates: [Candidate] = []
        var rejected: [(agent: UUID, reason: Rejection)] = []
        var isSomebodyOnShift = false
    }

    init(now: Int64) {
        self.now = now
    }

    /// Reads what `assignment.facts` made.
    init(_ json: JSON) {
        now = json["now_ms"]?.intValue ?? 0
        teamExists = json["team_exists"]?.boolValue ?? true
        isTeamGone = json["team_gone"]?.boolValue ?? false
        heir = json["heir"]?.uuidValue
        policy = TeamPolicy(json["policy"] ?? .null)
        policyVersion = json["policy_version"]?.intValue.map(Int.init)
        rules = RuleSet(json["rules"])
        for (id, schedule) in json["schedules"]?.objectValue?.members ?? [] {
            guard let id = UUID(text: id) else { continue }
            schedules[id] = Schedule(schedule)
        }
        preferred =
            switch policy.stickyMode {
            case .owner: json["owner_id"]?.uuidValue
            case .lastAgent: json["last_agent_id"]?.uuidValue
            case .off: nil
            }
        blocked = Set((json["blocked"]?.arrayValue ?? []).compactMap(\.uuidValue))
        roster = (json["roster"]?.arrayValue ?? []).compactMap(Candidate.init)
        isWhole = json["whole"]?.boolValue ?? true
        clock = json["clock"]?.doubleValue
        pageCount = json["page"]?.intValue.map(Int.init) ?? 0
    }

    /// The hours of the team, or of the tenant; nil: always open.
    var teamSchedule: Schedule? { policy.scheduleID.flatMap { schedules[$0] } }
}

extension Candidate {
    /// Reads what `assignment.roster_json` made.
    init?(_ json: JSON) {
        guard let id = json["id"]?.uuidValue, let name = json["name"]?.stringValue else {
            return nil
        }
        self.init(id: id, name: name)
        scheduleID = json["schedule_id"]?.uuidValue
        isMember = json["member"]?.boolValue ?? false
        weight = json["weight"]?.intValue.map(Int.init) ?? 100
        autoAssign = json["auto_assign"]?.boolValue ?? true
        virtualTime = json["vt"]?.doubleValue ?? 0
        status = json["status"]?.stringValue ?? "offline"
        mayReply = json["can_reply"]?.boolValue ?? true
        isAccepting = json["accepting"]?.boolValue ?? false
        isPresent = json["present"]?.boolValue ?? false
        capacityUnits = json["capacity"]?.intValue.map(Int.init) ?? 0
        activeUnits = json["active"]?.intValue.map(Int.init) ?? 0
        teamUnits = json["team_units"]?.intValue.map(Int.init) ?? 0
        windowCount = json["window_count"]?.intValue.map(Int.init) ?? 0
        windowBeganAt = json["window_began_ms"]?.intValue
        lastAssignedAt = json["last_ms"]?.intValue
        for skill in json["skills"]?.arrayValue ?? [] {
            guard let name = skill["name"]?.stringValue, let level = skill["level"]?.intValue
            else { continue }
            skills[name] = Int(level)
        }
    }
}

extension JSON {
    /// A UUID in its text form.
    var uuidValue: UUID? { stringValue.flatMap(UUID.init(text:)) }
}
