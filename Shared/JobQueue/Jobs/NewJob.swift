public import JSON

/// A job to be added.
public struct NewJob: Sendable, Hashable {
    /// What kind of work it is.
    public var name: String
    /// JSON text, stored as it is.
    public var data: String
    /// How it is queued, retried and kept.
    public var options: JobOptions

    /// A job whose data is JSON text already.
    public init(_ name: String, data: String = "{}", options: JobOptions = JobOptions()) {
        self.name = name
        self.data = data
        self.options = options
    }

    /// A job whose data is a JSON value.
    public init(_ name: String, json: JSON, options: JobOptions = JobOptions()) {
        self.init(name, data: json.text, options: options)
    }
}

/// Where a child's parent is.
public struct ParentReference: Sendable, Hashable {
    /// The parent's queue.
    public let queue: QueueKeys
    /// The parent's id.
    public let id: String

    /// The job `id` of `queue`.
    public init(queue: QueueKeys, id: String) {
        self.queue = queue
        self.id = id
    }

    var key: String { queue.job(id) }

    /// The child's `parent` field.
    func field(_ policy: ParentPolicy?) -> String {
        var object: JSONObject = ["id": .string(id), "queueKey": .string(queue.path)]
        if let policy { object[policy.rawValue] = true }
        return JSON.object(object).text
    }
}
