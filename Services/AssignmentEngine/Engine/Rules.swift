internal import FoundationEssentials
internal import JSON

/// What a rule demands of one value.
struct Condition: Sendable, Hashable {
    enum Test: String, Sendable, CaseIterable {
        case eq, ne, lt, lte, gt, gte
        case `in`
        case contains, exists
    }

    /// Where the value is: `priority`, `team_id`, `contact_id`, `source`, `wait_s`, or a path into
    /// the context, as `context.order.total`.
    let path: String
    let test: Test
    let operand: JSON

    func holds(for value: JSON?) -> Bool {
        switch test {
        case .eq: Condition.equal(value, operand)
        case .ne: !Condition.equal(value, operand)
        case .lt: Condition.compare(value, operand).map { $0 < 0 } ?? false
        case .lte: Condition.compare(value, operand).map { $0 <= 0 } ?? false
        case .gt: Condition.compare(value, operand).map { $0 > 0 } ?? false
        case .gte: Condition.compare(value, operand).map { $0 >= 0 } ?? false
        case .in: operand.arrayValue?.contains { Condition.equal(value, $0) } ?? false
        case .contains: Condition.contains(value, operand)
        case .exists: (value ?? .null).isNull != (operand.boolValue ?? true)
        }
    }

    private static func equal(_ one: JSON?, _ other: JSON) -> Bool {
        if let one = one?.doubleValue, let other = other.doubleValue { return one == other }
        return (one ?? .null) == other
    }

    /// Below, equal, above; nil when the two cannot be compared.
    private static func compare(_ one: JSON?, _ other: JSON) -> Int? {
        if let one = one?.doubleValue, let other = other.doubleValue {
            return one < other ? -1 : one > other ? 1 : 0
        }
        guard let one = one?.stringValue, let other = other.stringValue else { return nil }
        return one < other ? -1 : one > other ? 1 : 0
    }

    private static func contains(_ value: JSON?, _ part: JSON) -> Bool {
        if let elements = value?.arrayValue { return elements.contains { equal($0, part) } }
        guard let text = value?.stringValue, let part = part.stringValue else { return false }
        return text.contains(part)
    }
}

/// One rule: when everything in `conditions` holds, `effect` is had.
struct Rule: Sendable, Hashable {
    let position: Int
    let isEnabled: Bool
    let conditions: [Condition]
    let effect: RuleEffect
}

/// What a rule does; `stop` and `assign` end the reading of further rules.
struct RuleEffect: Sendable, Hashable {
    var stop: String?
    var teamID: UUID?
    var agents: [UUID]?
    var priority: Int?
    var skills: [SkillDemand]?

    var isLast: Bool { stop != nil || agents != nil }
}

/// What the rules in force make of a session.
struct RuleVerdict: Sendable, Hashable {
    /// The position of the rule that ended the reading, else of the last one that applied.
    var rule: Int?
    var effect = RuleEffect()
}

/// Rules in their order: the first that stops or assigns wins; what comes before it may set team,
/// priority and skills.
struct RuleSet: Sendable, Hashable {
    /// How many rules a tenant may have.
    static let countLimit = 200
    /// Conditions of one rule.
    static let conditionsLimit = 20

    let rules: [Rule]

    init(_ rules: [Rule]) {
        self.rules = rules.sorted { $0.position < $1.position }
    }

    /// Reads published rules, which were validated when they were drafted.
    init(_ json: JSON?) {
        self.init((json?.arrayValue ?? []).compactMap(RuleSet.rule))
    }

    private static func rule(_ json: JSON) -> Rule? {
        guard let then = json["then"] else { return nil }
        return Rule(
            position: json["position"]?.intValue.map(Int.init) ?? 0,
            isEnabled: json["enabled"]?.boolValue ?? true,
            conditions: conditions(json["when"]?.objectValue ?? [:]),
            effect: RuleEffect(
                stop: then["stop"]?.stringValue,
                teamID: then["team_id"]?.stringValue.flatMap(UUID.init(uuidString:)),
                agents: then["assign"]?["agent_ids"]?.arrayValue?
                    .compactMap { $0.stringValue.flatMap(UUID.init(uuidString:)) },
                priority: then["priority"]?.intValue.map(Int.init),
                skills: then["skills"]?.arrayValue?.compactMap(SkillDemand.init)
            )
        )
    }

    /// The conditions of a `when`: a plain value means "equals", an object names its tests.
    static func conditions(_ when: JSONObject) -> [Condition] {
        when.members.flatMap { member -> [Condition] in
            guard let tests = member.value.objectValue else {
                return [Condition(path: member.key, test: .eq, operand: member.value)]
            }
            return tests.members.compactMap { name, operand in
                Condition.Test(rawValue: name).map {
                    Condition(path: member.key, test: $0, operand: operand)
                }
            }
        }
    }

    /// What the rules make of a session, given the values that their paths name.
    func evaluate(_ value: (String) -> JSON?) -> RuleVerdict {
        var verdict = RuleVerdict()
        for rule in rules where rule.isEnabled {
            guard rule.conditions.allSatisfy({ $0.holds(for: value($0.path)) }) else { continue }
            verdict.rule = rule.position
            verdict.effect.teamID = rule.effect.teamID ?? verdict.effect.teamID
            verdict.effect.priority = rule.effect.priority ?? verdict.effect.priority
            verdict.effect.skills = rule.effect.skills ?? verdict.effect.skills
            if rule.effect.isLast {
                verdict.effect.stop = rule.effect.stop
                verdict.effect.agents = rule.effect.agents
                break
            }
        }
        return verdict
    }
}
