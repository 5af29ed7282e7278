internal import JSON

/// How long a failed job waits before its next attempt.
public struct Backoff: Sendable, Hashable {
    /// `fixed`, `exponential`, or the name of a worker's own strategy.
    public var type: String
    /// The first wait, in milliseconds.
    public var delay: Int64
    /// Which part of the wait is random, 0…1.
    public var jitter: Double

    /// A wait of `type`.
    public init(type: String, delay: Int64, jitter: Double = 0) {
        self.type = type
        self.delay = delay
        self.jitter = jitter
    }

    /// The same wait each time.
    public static func fixed(_ delay: Int64, jitter: Double = 0) -> Backoff {
        Backoff(type: "fixed", delay: delay, jitter: jitter)
    }

    /// Twice as long each time.
    public static func exponential(_ delay: Int64, jitter: Double = 0) -> Backoff {
        Backoff(type: "exponential", delay: delay, jitter: jitter)
    }

    /// The longest wait, in milliseconds: about ten years, inside what a score holds.
    static let delayMax: Double = 315_360_000_000

    /// The wait after the `attempt`-th failure (1 is the first), in milliseconds.
    ///
    /// - Parameter random: 0 up to but not including 1.
    /// - Returns: nil when `type` is neither fixed nor exponential.
    public func wait(afterAttempt attempt: Int, random: Double) -> Int64? {
        let whole: Double
        switch type {
        case "fixed": whole = Double(delay)
        case "exponential":
            whole = (Double(sign: .plus, exponent: attempt - 1, significand: 1) * Double(delay))
                .rounded()
        default: return nil
        }
        let bounded = min(max(0, whole), Backoff.delayMax)
        guard jitter > 0 else { return Int64(bounded) }
        let part = min(jitter, 1)
        return Int64((random * bounded * part + bounded * (1 - part)).rounded(.down))
    }

    /// Reads an `opts` member: a number means fixed.
    ///
    /// - Returns: nil for what is neither a number nor an object with a type.
    init?(_ json: JSON) {
        if let delay = json.intValue {
            self = .fixed(delay)
            return
        }
        guard let type = json["type"]?.stringValue else { return nil }
        self.init(
            type: type,
            delay: json["delay"]?.intValue ?? 0,
            jitter: json["jitter"]?.doubleValue ?? 0
        )
    }

    /// The object that is stored.
    var json: JSON {
        var object: JSONObject = ["type": .string(type), "delay": .int(delay)]
        if jitter > 0 { object["jitter"] = .double(jitter) }
        return .object(object)
    }
}
