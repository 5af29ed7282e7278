internal import JSON

/// What happens to a job while another one with the same deduplication id is about.
public struct Deduplication: Sendable, Hashable {
    /// What jobs are compared by.
    public var id: String
    /// For how many milliseconds; nil for as long as the first one is not finished.
    public var ttl: Int64?
    /// Whether each further job starts the time anew.
    public var extend: Bool
    /// Whether a further job takes the place of a delayed first one.
    public var replace: Bool
    /// Whether the last job given while the first is active runs after it.
    public var keepLastIfActive: Bool

    /// Jobs with the same `id` are one until the first is finished.
    public init(
        id: String,
        ttl: Int64? = nil,
        extend: Bool = false,
        replace: Bool = false,
        keepLastIfActive: Bool = false
    ) {
        self.id = id
        self.ttl = ttl
        self.extend = extend
        self.replace = replace
        self.keepLastIfActive = keepLastIfActive
    }

    init?(_ json: JSON) {
        guard let id = json["id"]?.stringValue, !id.isEmpty else { return nil }
        self.init(
            id: id,
            ttl: json["ttl"]?.intValue.flatMap { $0 > 0 ? $0 : nil },
            extend: json["extend"]?.boolValue ?? false,
            replace: json["replace"]?.boolValue ?? false,
            keepLastIfActive: json["keepLastIfActive"]?.boolValue ?? false
        )
    }

    var json: JSON {
        var object: JSONObject = ["id": .string(id)]
        object["ttl"] = ttl.map { .int($0) }
        if extend { object["extend"] = true }
        if replace { object["replace"] = true }
        if keepLastIfActive { object["keepLastIfActive"] = true }
        return .object(object)
    }

    /// The letters by which the script knows the mode.
    var flags: String {
        (extend ? "e" : "") + (replace ? "r" : "") + (keepLastIfActive ? "k" : "")
    }
}
