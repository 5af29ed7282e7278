import EventLoop
import JSON

/// Whether those who post keep to what Slack asks of them.
struct StandInWatch {
    /// What was seen, 100 at most.
    private(set) var violations: [String] = []
    private var blocked: [String: (since: MonotonicTime, until: MonotonicTime)] = [:]
    /// A post that is on its way while the limit is told to another one cannot know of it.
    static let underWay: Duration = .milliseconds(500)

    /// Looks at a post.
    mutating func note(_ request: StandInRequest) {
        guard case .success(let arguments) = request.arguments() else { return }
        let channel = arguments["channel"]?.stringValue ?? ""
        let now = MonotonicTime.now()
        if let block = blocked[channel], now < block.until,
            now - block.since > StandInWatch.underWay
        {
            add("\(channel): called before Retry-After was over")
        }
        if request.query["token"] != nil { add("a token in the query") }
        // A form has everything as text.
        guard request.isJSON else { return }
        for violation in StandInShapes.violations(in: arguments) { add(violation) }
    }

    /// A post was answered 429.
    mutating func limited(_ request: StandInRequest, seconds: Int64) {
        guard case .success(let arguments) = request.arguments(),
            let channel = arguments["channel"]?.stringValue
        else { return }
        let now = MonotonicTime.now()
        blocked[channel] = (since: now, until: now + .seconds(seconds))
    }

    /// Those who post have lost what they knew of limits.
    mutating func forgive() {
        blocked = [:]
    }

    private mutating func add(_ violation: String) {
        if violations.count < 100 { violations.append(violation) }
    }
}

/// Faults by chance, repeatable by their seed.
struct StandInChaos {
    private var state: UInt64
    /// Parts of 1,000 for each fault.
    private let parts: [(kind: StandInFault.Kind, below: UInt64)]
    private let delay: Duration

    /// `{"seed": 1, "delay_ms": 200, "per_mille": {"reset_after_acceptance": 50, …}}`.
    init(_ order: JSON) {
        state = UInt64(order["seed"]?.intValue ?? 1)
        delay = .milliseconds(order["delay_ms"]?.intValue ?? 200)
        var sum: UInt64 = 0
        var parts: [(kind: StandInFault.Kind, below: UInt64)] = []
        for (name, value) in order["per_mille"]?.objectValue?.members ?? [] {
            guard let kind = StandInFault.Kind(rawValue: name), let part = value.intValue else {
                continue
            }
            sum += UInt64(part)
            parts.append((kind, sum))
        }
        self.parts = parts
    }

    /// The fault of the next post, if it has one.
    mutating func fault() -> StandInFault? {
        // SplitMix64.
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        value ^= value >> 31
        guard let kind = parts.first(where: { value % 1_000 < $0.below })?.kind else { return nil }
        return StandInFault(
            kind: kind,
            left: 1,
            method: "chat.postMessage",
            // Of those that say nothing, half have taken the message.
            accepts: (value >> 32) % 2 == 0 && kind != .resetBeforeAcceptance
                && kind != .rateLimited && kind != .error,
            delay: delay,
            retryAfter: 1,
            code: "internal_error"
        )
    }
}
