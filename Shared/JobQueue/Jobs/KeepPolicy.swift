internal import JSON

/// How many finished jobs of a queue stay, and for how long.
///
/// It comes from the job that finishes and is applied to all finished jobs of its kind; there is no
/// timer.
public struct KeepPolicy: Sendable, Hashable {
    /// How many at most; nil for all, 0 for none.
    public var count: Int?
    /// How old in seconds at most; nil for any age.
    public var age: Int?
    /// How many of those too old go at one finish.
    public var limit: Int

    /// How many of those too old go at one finish unless told otherwise.
    public static let limitDefault = 1000

    /// A policy.
    public init(count: Int? = nil, age: Int? = nil, limit: Int = KeepPolicy.limitDefault) {
        self.count = count
        self.age = age
        self.limit = limit
    }

    /// All stay.
    public static let all = KeepPolicy()
    /// None stays.
    public static let none = KeepPolicy(count: 0)

    /// Reads an `opts` member: true, false, a number, or an object of age, count and limit.
    ///
    /// - Returns: nil for what is none of these.
    init?(_ json: JSON) {
        switch json {
        case .bool(let isRemoved): self = isRemoved ? .none : .all
        case .int, .double:
            guard let count = json.intValue.flatMap({ Int(exactly: $0) }) else { return nil }
            self.init(count: count < 0 ? nil : count)
        case .object(let object):
            let count = object["count"]?.intValue.map { Int(clamping: $0) }
            let age = object["age"]?.doubleValue.flatMap { Int(exactly: $0.rounded(.up)) }
            let limit = object["limit"]?.intValue.map { Int(clamping: $0) }
            self.init(
                count: count.flatMap { $0 < 0 ? nil : $0 },
                age: age.flatMap { $0 < 0 ? nil : $0 },
                limit: limit.flatMap { $0 > 0 ? $0 : nil } ?? KeepPolicy.limitDefault
            )
        case .null, .string, .array: return nil
        }
    }

    /// The member that is stored.
    var json: JSON {
        guard age != nil || limit != KeepPolicy.limitDefault else {
            guard let count else { return false }
            return count == 0 ? true : .int(Int64(count))
        }
        var object = JSONObject()
        object["age"] = age.map { .int(Int64($0)) }
        object["count"] = count.map { .int(Int64($0)) }
        if limit != KeepPolicy.limitDefault { object["limit"] = .int(Int64(limit)) }
        return .object(object)
    }
}
