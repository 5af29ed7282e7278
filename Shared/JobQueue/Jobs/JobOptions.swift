public import JSON

/// How a job is queued, retried and kept: its `opts`.
public struct JobOptions: Sendable, Hashable {
    /// How often it is tried at most; 0 and 1 both mean once.
    public var attempts = 0
    /// How long it waits before another attempt; nil for not at all.
    public var backoff: Backoff?
    /// How long it waits before the first attempt, in milliseconds.
    public var delay: Int64 = 0
    /// 0 for none; else 1 is served first and ``Score/priorityMax`` last, after all jobs with none.
    public var priority = 0
    /// Whether it is served before those that wait already.
    public var isLIFO = false
    /// What stays of the queue's completed jobs; nil for what the worker says.
    public var removeOnComplete: KeepPolicy?
    /// What stays of the queue's failed jobs; nil for what the worker says.
    public var removeOnFail: KeepPolicy?
    /// How many failures' traces stay; nil for all.
    public var stackTraceLimit: Int?
    /// How many log lines stay; nil for all.
    public var keepLogs: Int?
    /// How many bytes the data may have; nil for no limit.
    public var sizeLimit: Int?
    /// The id; nil for the queue's counter.
    public var id: String?
    /// When it was made, in ms since 1970; nil for the present.
    public var timestamp: Int64?
    /// What makes it one with others.
    public var deduplication: Deduplication?
    /// What its final failure does to its parent.
    public var onParent: ParentPolicy?
    /// Members that this version does not know, and those that only clients read.
    public var others = JSONObject()

    /// Options of a job that is tried once, at once.
    public init() {}

    /// What is wrong with them; nil when they can be stored.
    func fault(data: String, hasParent: Bool) -> String? {
        if let id, let fault = JobID.fault(in: id) { return "the job id '\(id)' \(fault)" }
        if !(0...Score.priorityMax).contains(priority) {
            return "the priority \(priority) is not in 0...\(Score.priorityMax)"
        }
        if delay < 0 || delay > Int64(Backoff.delayMax) { return "the delay \(delay) is no wait" }
        if attempts < 0 { return "the number of attempts is negative" }
        if let backoff, !(0...1).contains(backoff.jitter) { return "the jitter is not in 0...1" }
        if let sizeLimit, data.utf8.count > sizeLimit {
            return "the data has \(data.utf8.count) bytes; \(sizeLimit) are allowed"
        }
        guard let deduplication else { return nil }
        if deduplication.id.isEmpty { return "the deduplication id is empty" }
        return hasParent ? "a job with a parent cannot be deduplicated" : nil
    }
}

// MARK: JSON

extension JobOptions {
    /// Reads the text of `opts`; members of the wrong kind count as absent.
    ///
    /// - Returns: nil when the text is not a JSON object.
    public init?(text: [UInt8]) {
        guard let json = try? JSON(parsing: text, limits: .foreign), case .object(let object) = json
        else { return nil }
        self.init(object)
    }

    /// Reads the members of `opts`; those of the wrong kind count as absent.
    public init(_ object: JSONObject) {
        for (name, value) in object.members where !read(name, value) { others[name] = value }
    }

    private mutating func read(_ name: String, _ value: JSON) -> Bool {
        switch name {
        case "attempts": attempts = JobOptions.count(value) ?? 0
        case "backoff": backoff = Backoff(value)
        case "delay": delay = max(0, value.intValue ?? 0)
        case "priority": priority = JobOptions.count(value) ?? 0
        case "lifo": isLIFO = value.boolValue ?? false
        case "removeOnComplete": removeOnComplete = KeepPolicy(value)
        case "removeOnFail": removeOnFail = KeepPolicy(value)
        case "stackTraceLimit": stackTraceLimit = JobOptions.count(value)
        case "kl": keepLogs = JobOptions.count(value)
        case "sizeLimit": sizeLimit = JobOptions.count(value)
        case "jobId": id = value.stringValue
        case "timestamp": timestamp = value.intValue
        case "de": deduplication = Deduplication(value)
        default: return readParentPolicy(name, value)
        }
        return true
    }

    private mutating func readParentPolicy(_ name: String, _ value: JSON) -> Bool {
        guard let policy = ParentPolicy(rawValue: name) else { return false }
        if value == true { onParent = policy }
        return true
    }

    private static func count(_ value: JSON) -> Int? {
        value.intValue.map { Int(clamping: max(0, $0)) }
    }

    /// The object that is stored, short names for long.
    public var json: JSONObject {
        var object: JSONObject = ["attempts": .int(Int64(attempts))]
        object["backoff"] = backoff?.json
        if delay > 0 { object["delay"] = .int(delay) }
        if priority > 0 { object["priority"] = .int(Int64(priority)) }
        if isLIFO { object["lifo"] = true }
        object["removeOnComplete"] = removeOnComplete?.json
        object["removeOnFail"] = removeOnFail?.json
        object["stackTraceLimit"] = stackTraceLimit.map { .int(Int64($0)) }
        object["kl"] = keepLogs.map { .int(Int64($0)) }
        object["sizeLimit"] = sizeLimit.map { .int(Int64($0)) }
        object["jobId"] = id.map { .string($0) }
        object["timestamp"] = timestamp.map { .int($0) }
        object["de"] = deduplication?.json
        if let onParent { object[onParent.rawValue] = true }
        for (name, value) in others.members { object[name] = value }
        return object
    }
}
