public import JSON
public import RedisClient

/// A job as it stands in Redis.
///
/// Others write these hashes too: a field that is not what it should be counts as absent, and no
/// content makes reading fail.
public struct Job: Sendable, Hashable {
    /// Its id in its queue.
    public let id: String
    /// What kind of work it is.
    public private(set) var name = ""
    /// Its data: JSON text, byte for byte as it was stored.
    public private(set) var data: [UInt8] = []
    /// Its options; nil when what is stored is not a JSON object.
    public private(set) var options: JobOptions?
    /// When it was made, in ms since 1970.
    public private(set) var timestamp: Int64 = 0
    /// How long it waits now, in ms: for its time or for its next attempt.
    public private(set) var delay: Int64 = 0
    /// 0 for none, else lower is sooner.
    public private(set) var priority = 0
    /// How often it was started.
    public private(set) var attemptsStarted = 0
    /// How many attempts have ended.
    public private(set) var attemptsMade = 0
    /// How often a worker lost it.
    public private(set) var stalledCount = 0
    /// When its last attempt began.
    public private(set) var processedOn: Int64?
    /// When it was completed or finally failed.
    public private(set) var finishedOn: Int64?
    /// The worker of its last attempt, where workers have names.
    public private(set) var processedBy: String?
    /// How far it got: JSON text.
    public private(set) var progress: String?
    /// What it returned: JSON text.
    public private(set) var returnValue: String?
    /// Why its last attempt failed.
    public private(set) var failedReason: String?
    /// One trace for each failure that is kept.
    public private(set) var stackTrace: [String] = []
    /// The key of its parent.
    public private(set) var parentKey: String?
    /// The scheduler that made it.
    public private(set) var scheduler: String?
    /// What makes it one with others.
    public private(set) var deduplicationID: String?
    /// Why the next worker that takes it must fail it in place of running it.
    public private(set) var deferredFailure: String?

    /// A job from the answer of HGETALL.
    public init(id: String, fields: RedisValue) {
        self.id = id
        for (name, value) in fields.pairs {
            guard let name = name.text, let bytes = value.bytes else { continue }
            read(name, bytes)
        }
    }

    private mutating func read(_ field: String, _ bytes: [UInt8]) {
        switch field {
        case "name": name = Job.text(bytes)
        case "data": data = bytes
        case "opts": options = JobOptions(text: bytes)
        case "timestamp": timestamp = Job.number(bytes) ?? 0
        case "delay": delay = Job.number(bytes) ?? 0
        case "priority": priority = Job.count(bytes)
        case "ats": attemptsStarted = Job.count(bytes)
        case "atm": attemptsMade = Job.count(bytes)
        case "stc": stalledCount = Job.count(bytes)
        case "processedOn": processedOn = Job.number(bytes)
        case "finishedOn": finishedOn = Job.number(bytes)
        case "pb": processedBy = Job.text(bytes)
        case "progress": progress = Job.text(bytes)
        case "returnvalue": returnValue = Job.text(bytes)
        case "failedReason": failedReason = Job.text(bytes)
        case "stacktrace": stackTrace = Job.texts(bytes)
        case "parentKey": parentKey = Job.text(bytes)
        case "rjk": scheduler = Job.text(bytes)
        case "deid": deduplicationID = Job.text(bytes)
        case "defa": deferredFailure = Job.text(bytes)
        default: break
        }
    }

    private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

    private static func number(_ bytes: [UInt8]) -> Int64? { Int64(text(bytes)) }

    private static func count(_ bytes: [UInt8]) -> Int { Int(clamping: number(bytes) ?? 0) }

    private static func texts(_ bytes: [UInt8]) -> [String] {
        guard let json = try? JSON(parsing: bytes, limits: .foreign) else { return [] }
        return json.arrayValue?.compactMap(\.stringValue) ?? []
    }

    /// Its data as text; bytes that are no UTF-8 are replaced.
    public var dataText: String { Job.text(data) }

    /// Its data as a value.
    ///
    /// - Throws: what is wrong with the text.
    public func dataValue() throws(JSONError) -> JSON { try JSON(parsing: data, limits: .foreign) }
}
