internal import JSON

/// Puts a stored decision into words.
enum Explanation {
    /// A sentence or two about a row of `assignment_decisions`, as JSON.
    static func text(of decision: JSON) -> String {
        let reason = decision["reason"]?.stringValue ?? ""
        let verdict =
            switch decision["outcome"]?.stringValue {
            case "assign": assigned(decision, reason)
            case "error": "Nothing was changed: \(words(reason))."
            case "stop": "It is left out of automatic assignment: \(words(reason))."
            default:
                decision["agent_id"]?.stringValue == nil
                    ? "Nobody got it: \(words(reason))."
                    : "It went back to the queue: \(words(reason))."
            }
        let note = decision["note"]?.stringValue.map {
            "\($0.prefix(1).uppercased())\($0.dropFirst())."
        }
        let further = [note, rule(decision), rejected(decision["counts"])].compactMap(\.self)
        return ([verdict] + further).joined(separator: " ")
    }

    private static func assigned(_ decision: JSON, _ reason: String) -> String {
        let chosen = decision["agent_id"]?.stringValue ?? ""
        let candidates = decision["candidates"]?.arrayValue ?? []
        let name =
            candidates.first { $0["agent_id"]?.stringValue == chosen }?["name"]?.stringValue
            ?? "The agent"
        switch reason {
        case "assigned": break
        case "contact_assigned": return "\(name) got it: it is \(name)'s contact."
        case "rule_assigned": return "\(name) got it: a rule names who gets it."
        case "assigned_offline":
            return "\(name) got it although away: nobody took it for too long."
        case "take": return "\(name) took it by hand."
        case "first_reply": return "\(name) got it by being the first to reply."
        case "transfer": return "\(name) got it from the owner before."
        case "forced": return "\(name) got it by hand, \(objection(decision))."
        default: return "\(name) got it by hand."
        }
        let people = candidates.count == 1 ? "1 candidate" : "\(candidates.count) candidates"
        return "\(name) got it: of \(people), \(how(decision, name))."
    }

    private static func how(_ decision: JSON, _ name: String) -> String {
        switch decision["strategy"]?.stringValue {
        case "round_robin":
            "it was \(name)'s turn (position \(decision["rr_index"]?.intValue ?? 0))"
        case "fair": "\(name) had the lowest share so far"
        case "least_recently_assigned": "\(name) had waited longest"
        case "least_active": "\(name) had the least open work"
        default: "\(name) had the most room"
        }
    }

    private static func objection(_ decision: JSON) -> String {
        let reason = decision["rejected"]?[0]?["reason"]?.stringValue
        let words = reason.flatMap(Rejection.init(rawValue:))?.explanation
        return "although " + (words ?? "something spoke against it")
    }

    private static func rule(_ decision: JSON) -> String? {
        guard let rule = decision["rule_id"]?.intValue,
            let version = decision["policy_version"]?.intValue
        else { return nil }
        return "Rule \(rule) of version \(version) applied."
    }

    private static func rejected(_ counts: JSON?) -> String? {
        let parts = (counts?.objectValue?.members ?? []).compactMap { member -> String? in
            guard let reason = Rejection(rawValue: member.key), let count = member.value.intValue
            else { return nil }
            return "\(count) \(reason.explanation)"
        }
        return parts.isEmpty ? nil : "Not considered: " + parts.joined(separator: ", ") + "."
    }

    private static let reasons = [
        "no_candidates": "no member of the team can take it now",
        "no_members": "the team has no members",
        "no_team": "the team does not exist",
        "no_capacity": "everybody filled up while it was being assigned",
        "missing_skill": "nobody in the team has a skill that is asked for",
        "sticky_hold": "it waits for the contact's own agent",
        "taken": "somebody has it already",
        "busy": "another run is at it",
        "redis_unavailable": "the shared round-robin counter could not be reached",
        "off_hours": "the team is outside its hours; it queues again when they begin",
        "off_hours_message_only": "the team is outside its hours and takes messages only",
        "stale_backlog": "it waited longer than the team's limit for old work",
        "offer_expired": "the offer was not accepted in time",
        "first_reply_missed": "the owner did not reply in time",
        "declined": "the offer was declined",
        "agent_offline": "the owner went offline",
        "transferred": "it was transferred to another team",
        "max_reassigns": "it changed hands too often and overflows to another team",
    ]

    private static func words(_ reason: String) -> String {
        if reason.hasPrefix("rule:") { return "a rule stopped it, \(reason.dropFirst(5))" }
        return reasons[reason] ?? (reason.isEmpty ? "no reason was stored" : reason)
    }
}
