internal import JSON
internal import RedisClient

/// What makes a job again and again.
///
/// One run at a time is planned; the worker that takes it plans the next one.
public struct JobScheduler: Sendable, Hashable {
    /// When runs are.
    public enum Timing: Sendable, Hashable {
        /// Every so many ms; after the first, on multiples of it plus an offset.
        case every(Int64, offset: Int64?)
        /// By a cron pattern, in a time zone of the IANA database or UTC.
        case pattern(String, zone: String?)
    }

    /// Its id.
    public let id: String
    /// When its runs are.
    public var timing: Timing
    /// What the runs' jobs are called.
    public var name: String
    /// The runs' data: JSON text.
    public var data: String
    /// The runs' options.
    public var options: JobOptions
    /// How many runs there are at most.
    public var limit: Int?
    /// No run before, in ms since 1970.
    public var startDate: Int64?
    /// No run after, in ms since 1970.
    public var endDate: Int64?
    /// How many runs were planned so far.
    public internal(set) var iterations = 0
    /// When the planned run is due, in ms since 1970.
    public internal(set) var next: Int64?

    /// A scheduler that makes jobs called `name`.
    public init(
        id: String,
        _ timing: Timing,
        name: String,
        data: String = "{}",
        options: JobOptions = JobOptions()
    ) {
        self.id = id
        self.timing = timing
        self.name = name
        self.data = data
        self.options = options
    }

    /// Reads a scheduler's hash; nil for what is none, such as an old client's repeatable job.
    init?(id: String, fields: RedisValue, next: Int64?) {
        var texts: [String: String] = [:]
        for (key, value) in fields.pairs {
            if let key = key.text {
                texts[key] = String(decoding: value.bytes ?? [], as: UTF8.self)
            }
        }
        guard let count = texts["ic"].flatMap({ Int($0) }) else { return nil }
        if let every = texts["every"].flatMap({ Int64($0) }), every > 0 {
            timing = .every(every, offset: texts["offset"].flatMap { Int64($0) })
        } else if let pattern = texts["pattern"] {
            timing = .pattern(pattern, zone: texts["tz"])
        } else {
            return nil
        }
        self.id = id
        self.next = next
        iterations = count
        name = texts["name"] ?? ""
        data = texts["data"] ?? "{}"
        options = texts["opts"].flatMap { JobOptions(text: Array($0.utf8)) } ?? JobOptions()
        limit = texts["limit"].flatMap { Int($0) }
        startDate = texts["startDate"].flatMap { Int64($0) }
        endDate = texts["endDate"].flatMap { Int64($0) }
    }

    /// The run that follows `instant` by the pattern, not before the start; nil where there is none.
    func patternTime(after instant: Int64) throws(JobQueueError) -> Int64? {
        guard case .pattern(let text, let zone) = timing else { return nil }
        do {
            let clock = try CronClock(try CronPattern(text), zone: zone)
            return clock.next(after: max(instant, startDate.map { $0 - 1 } ?? instant))
        } catch {
            throw JobQueueError(.invalid, "scheduler \(id): \(error)")
        }
    }

    /// What the runs' `opts` say of the scheduler.
    func repeatMember(count: Int) -> JSON {
        var object: JSONObject = ["count": .int(Int64(count))]
        switch timing {
        case .every(let every, let offset):
            object["every"] = .int(every)
            object["offset"] = offset.map { .int($0) }
        case .pattern(let pattern, let zone):
            object["pattern"] = .string(pattern)
            object["tz"] = zone.map { .string($0) }
        }
        object["limit"] = limit.map { .int(Int64($0)) }
        object["startDate"] = startDate.map { .int($0) }
        object["endDate"] = endDate.map { .int($0) }
        return .object(object)
    }
}
