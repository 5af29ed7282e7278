internal import TimeZones
internal import FoundationEssentials
internal import JSON
internal import Platform

/// Reads and checks rules and schedules, which callers write as documents.
enum RuleBody {
    /// The rules of a draft, as they are stored.
    static func rules(_ body: inout JSONFields) -> [JSON] {
        body.array("rules", count: 0...RuleSet.countLimit, of: rule)
    }

    private static func rule(_ rule: inout JSONFields) -> JSON {
        let when = rule.optionalJSONObject("when") ?? [:]
        if let detail = fault(in: when) { rule.fault("when", detail) }
        let then = rule.object("then", effect)
        return [
            "position": .int(Int64(rule.int("position", in: 0...100_000))),
            "enabled": .bool(rule.optionalBool("enabled") ?? true), "when": .object(when),
            "then": then,
        ]
    }

    /// What is wrong with a `when`; paths and tests that mean nothing would never say so later.
    static func fault(in when: JSONObject) -> String? {
        if when.count > RuleSet.conditionsLimit {
            return "must have at most \(RuleSet.conditionsLimit) conditions"
        }
        let paths: Set<String> = ["priority", "team_id", "contact_id", "source", "wait_s"]
        for (path, value) in when.members {
            guard paths.contains(path) || path.hasPrefix("context.") else {
                return "'\(path)' is not a path: priority, team_id, contact_id, source, wait_s, "
                    + "context.…"
            }
            for (test, _) in value.objectValue?.members ?? []
            where Condition.Test(rawValue: test) == nil {
                let known = Condition.Test.allCases.map(\.rawValue).joined(separator: ", ")
                return "'\(test)' of '\(path)' is not a test: \(known)"
            }
        }
        return nil
    }

    private static func effect(_ then: inout JSONFields) -> JSON {
        var effect: JSONObject = [:]
        let stop = then.optionalString("stop", length: 1...100, pattern: .code)
        if let stop { effect["stop"] = .string(stop) }
        if let team = then.optionalUUID("team_id") { effect["team_id"] = .string(team.text) }
        let agents = then.optionalObject("assign") { $0.uuids("agent_ids", count: 1...50) }
        if let agents { effect["assign"] = ["agent_ids": JSON(agents.map(\.text))] }
        if let priority = then.optionalInt("priority", in: 0...4) {
            effect["priority"] = .int(Int64(priority))
        }
        if let skills = then.optionalArray("skills", count: 1...20, of: skill) {
            effect["skills"] = .array(skills)
        }
        if effect.isEmpty { then.fault("", "must do something") }
        if stop != nil, agents != nil { then.fault("stop", "cannot go with assign") }
        return .object(effect)
    }

    private static func skill(_ skill: inout JSONFields) -> JSON {
        SkillDemand(
            name: skill.string("name", length: 1...100, pattern: .singleLine),
            minimum: skill.optionalInt("min", in: 1...5) ?? 1,
            relaxAfter: skill.optionalInt("relax_after_s", in: 1...86_400),
            dropAfter: skill.optionalInt("drop_after_s", in: 1...86_400)
        ).document
    }

    /// A schedule whose zone, times and dates mean something.
    static func schedule(_ body: inout JSONFields) -> ScheduleBody {
        let zone = body.string("tz", length: 1...64, pattern: .singleLine)
        if TimeZone.iana(zone) == nil {
            body.fault("tz", "is not an IANA time zone, such as Europe/Berlin")
        }
        return ScheduleBody(
            name: body.string("name", length: 1...200, pattern: .singleLine),
            zone: zone,
            windows: body.array("windows", count: 0...100) { window in
                let day = window.choice("day", of: Weekday.self)
                return RuleBody.window(&window, ["day": .string(day.rawValue)])
            },
            exceptions: body.optionalArray("exceptions", count: 0...1000, of: exception) ?? []
        )
    }

    private enum Weekday: String, CaseIterable { case mon, tue, wed, thu, fri, sat, sun }

    private static func window(_ body: inout JSONFields, _ start: JSONObject) -> JSON {
        var window = start
        for name in ["from", "to"] {
            let text = body.string(name, length: 0...20)
            if Schedule.minutes(text) == nil { body.fault(name, "is not a time, such as 09:30") }
            window[name] = .string(text)
        }
        return .object(window)
    }

    private static func exception(_ body: inout JSONFields) -> JSON {
        let date = body.string("date", length: 0...20)
        if date.utf8.count != 10 || RFC3339.parse(date + "T00:00:00Z") == nil {
            body.fault("date", "is not a date, such as 2026-12-24")
        }
        let closed = body.optionalBool("closed")
        let windows = body.optionalArray("windows", count: 1...20) { RuleBody.window(&$0, [:]) }
        if (closed == true) == (windows != nil) {
            body.fault("closed", "must be true, or there must be windows")
        }
        return ["date": .string(date), "windows": .array(windows ?? [])]
    }
}
