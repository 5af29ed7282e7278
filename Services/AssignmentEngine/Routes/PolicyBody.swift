internal import FoundationEssentials
internal import JSON
internal import Platform

/// Reads the fields of a policy: only what is said, as it is stored.
enum PolicyBody {
    /// The fields of a team's or a tenant's policy.
    static func read(_ body: inout JSONFields) -> JSON {
        var policy = choices(&body)
        for (name, range) in numbers {
            if let value = body.optionalInt(name, in: range) { policy[name] = .int(Int64(value)) }
        }
        for name in ["schedule_id", "overflow_team_id"] {
            if let id = body.optionalUUID(name) { policy[name] = .string(id.text) }
        }
        if let flag = body.optionalBool("claim_on_first_reply") {
            policy["claim_on_first_reply"] = .bool(flag)
        }
        let limit = body.optionalObject("max_new_per_agent") { limit -> JSON in
            [
                "n": .int(Int64(limit.int("n", in: 1...10_000))),
                "window_s": .int(Int64(limit.int("window_s", in: 1...86_400))),
            ]
        }
        if let limit { policy["max_new_per_agent"] = limit }
        return .object(policy)
    }

    /// What has a number, and its bounds.
    static let numbers: [(name: String, range: ClosedRange<Int>)] = [
        ("capacity_units", 1...1000), ("offline_grace_s", 0...86_400),
        ("offer_timeout_s", 0...86_400), ("first_reply_timeout_s", 0...86_400),
        ("max_reassigns", 1...100), ("max_wait_s", 0...604_800), ("sticky_days", 1...365),
        ("sticky_wait_s", 0...600), ("backlog_cutoff_hours", 1...8760),
    ]

    private static func choices(_ body: inout JSONFields) -> JSONObject {
        var policy: JSONObject = [:]
        func note<Choice: RawRepresentable>(_ name: String, _ choice: Choice?)
        where Choice.RawValue == String {
            if let choice { policy[name] = .string(choice.rawValue) }
        }
        note("strategy", body.optionalChoice("strategy", of: Strategy.self))
        note("on_offline", body.optionalChoice("on_offline", of: OnOffline.self))
        note(
            "on_first_reply_timeout",
            body.optionalChoice("on_first_reply_timeout", of: OnFirstReplyTimeout.self)
        )
        note("no_agent_action", body.optionalChoice("no_agent_action", of: NoAgentAction.self))
        note("off_hours_action", body.optionalChoice("off_hours_action", of: OffHoursAction.self))
        note("on_reopen", body.optionalChoice("on_reopen", of: OnReopen.self))
        note("sticky_mode", body.optionalChoice("sticky_mode", of: StickyMode.self))
        return policy
    }
}
