internal import JSON

/// A skill that a session asks for, and how long it insists.
struct SkillDemand: Sendable, Hashable {
    let name: String
    /// 1 to 5.
    let minimum: Int
    /// Seconds after which any level will do; nil: never.
    let relaxAfter: Int?
    /// Seconds after which it is not asked for any more; nil: never.
    let dropAfter: Int?

    init(name: String, minimum: Int, relaxAfter: Int? = nil, dropAfter: Int? = nil) {
        self.name = name
        self.minimum = minimum
        self.relaxAfter = relaxAfter
        self.dropAfter = dropAfter
    }

    /// Reads `{name, min, relax_after_s?, drop_after_s?}`.
    init?(_ json: JSON) {
        guard let name = json["name"]?.stringValue else { return nil }
        self.init(
            name: name,
            minimum: json["min"]?.intValue.map(Int.init) ?? 1,
            relaxAfter: json["relax_after_s"]?.intValue.map(Int.init),
            dropAfter: json["drop_after_s"]?.intValue.map(Int.init)
        )
    }

    /// The level that is asked for after a wait; nil when it is asked for no more.
    func minimum(after waited: Int64) -> Int? {
        if let dropAfter, waited >= Int64(dropAfter) * 1000 { return nil }
        if let relaxAfter, waited >= Int64(relaxAfter) * 1000 { return 1 }
        return minimum
    }

    /// After how many milliseconds of waiting the demand changes next; nil when it never does.
    func nextStep(after waited: Int64) -> Int64? {
        let steps = [relaxAfter, dropAfter].compactMap { $0.map { Int64($0) * 1000 } }
        return steps.filter { $0 > waited }.min()
    }

    /// Whether somebody with these skills meets it.
    func isMet(by skills: [String: Int], after waited: Int64) -> Bool {
        guard let minimum = minimum(after: waited) else { return true }
        return skills[name, default: 0] >= minimum
    }
}
