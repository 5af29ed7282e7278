internal import FoundationEssentials
internal import JSON
internal import Platform

/// What becomes of an agent's work when it goes offline.
enum OnOffline: String, Sendable, CaseIterable {
    case keep
    case requeueUnanswered = "requeue_unanswered"
    case requeueAll = "requeue_all"
    case requeueOnReply = "requeue_on_reply"
}

/// What a missed first reply leads to.
enum OnFirstReplyTimeout: String, Sendable, CaseIterable {
    case requeue, reassign, notify
}

/// What is done when nobody took a session for too long.
enum NoAgentAction: String, Sendable, CaseIterable {
    case wait
    case overflowTeam = "overflow_team"
    case assignOffline = "assign_offline"
    case askContact = "ask_contact"
}

/// What is done outside a team's hours.
enum OffHoursAction: String, Sendable, CaseIterable {
    case holdUntilOpen = "hold_until_open"
    case overflowTeam = "overflow_team"
    case messageOnly = "message_only"
}

/// Who gets a conversation that is opened again.
enum OnReopen: String, Sendable, CaseIterable {
    case sameIfEligible = "same_if_eligible"
    case route, bot
}

/// Whether a contact goes to somebody known before anybody else.
enum StickyMode: String, Sendable, CaseIterable {
    case owner
    case lastAgent = "last_agent"
    case off
}

/// How a team works; the database fills in what neither the team nor its tenant says.
struct TeamPolicy: Sendable {
    var strategy = Strategy.roundRobin
    var scheduleID: UUID?
    /// What one agent may carry for this team; nil leaves it to the agent's own capacity.
    var capacityUnits: Int?
    /// 0: no offers, sessions are assigned at once.
    var offerTimeoutSeconds = 0
    /// 0: nobody waits for a first reply.
    var firstReplyTimeoutSeconds = 0
    /// 0: a session waits for ever.
    var maxWaitSeconds = 0
    var noAgentAction = NoAgentAction.wait
    var overflowTeamID: UUID?
    var offHoursAction = OffHoursAction.holdUntilOpen
    var stickyMode = StickyMode.owner
    /// How long a session waits for the contact's own agent, from its entry into the queue.
    var stickyWaitSeconds = 0
    /// At most so many new sessions for one agent in a window.
    var newPerAgent: (count: Int, windowSeconds: Int)?
    /// Older sessions are parked.
    var backlogCutoffHours: Int?

    init() {}

    /// Reads what `assignment.policy` made.
    init(_ json: JSON) {
        strategy = TeamPolicy.choice(json["strategy"]) ?? strategy
        scheduleID = TeamPolicy.id(json["schedule_id"])
        capacityUnits = TeamPolicy.int(json["capacity_units"])
        offerTimeoutSeconds = TeamPolicy.int(json["offer_timeout_s"]) ?? 0
        firstReplyTimeoutSeconds = TeamPolicy.int(json["first_reply_timeout_s"]) ?? 0
        maxWaitSeconds = TeamPolicy.int(json["max_wait_s"]) ?? 0
        noAgentAction = TeamPolicy.choice(json["no_agent_action"]) ?? noAgentAction
        overflowTeamID = TeamPolicy.id(json["overflow_team_id"])
        offHoursAction = TeamPolicy.choice(json["off_hours_action"]) ?? offHoursAction
        stickyMode = TeamPolicy.choice(json["sticky_mode"]) ?? stickyMode
        stickyWaitSeconds = TeamPolicy.int(json["sticky_wait_s"]) ?? 0
        backlogCutoffHours = TeamPolicy.int(json["backlog_cutoff_hours"])
        if let limit = json["max_new_per_agent"], let count = TeamPolicy.int(limit["n"]),
            let window = TeamPolicy.int(limit["window_s"])
        {
            newPerAgent = (count, window)
        }
    }

    private static func int(_ json: JSON?) -> Int? { json?.intValue.map(Int.init) }

    private static func id(_ json: JSON?) -> UUID? {
        json?.stringValue.flatMap(UUID.init(text:))
    }

    private static func choice<Choice: RawRepresentable>(_ json: JSON?) -> Choice?
    where Choice.RawValue == String {
        json?.stringValue.flatMap(Choice.init(rawValue:))
    }

    /// What the claim needs to know of it, as the database's function takes it.
    var terms: JSON {
        [
            "offer_s": .int(Int64(offerTimeoutSeconds)),
            "first_reply_s": .int(Int64(firstReplyTimeoutSeconds)),
            "team_cap": JSON(capacityUnits),
            "max_new": newPerAgent.map { limit in
                ["n": .int(Int64(limit.count)), "window_s": .int(Int64(limit.windowSeconds))]
            } ?? .null,
        ]
    }
}
