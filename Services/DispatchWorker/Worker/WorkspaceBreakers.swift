internal import EventLoop

/// Stops calling a provider that only fails, and tries it again one call at a time.
///
/// Pure. Limits and refusals are answers; what counts as failing is that nobody was there, or not to
/// know whether a message arrived.
struct CircuitBreaker: Sendable {
    /// The calls that are looked at, and for how long each of them counts.
    static let window = 20
    static let span: Duration = .seconds(30)
    /// Fewer failures than this never open it.
    static let failuresMin = 10
    /// How long it stays open, and how long a probe may take.
    static let rest: Duration = .seconds(30)
    /// How long others wait while a probe is out.
    static let probeWait: Duration = .seconds(1)

    private var calls: [(at: MonotonicTime, failed: Bool)] = []
    private var openUntil: MonotonicTime?
    private var probeUntil: MonotonicTime?

    /// Whether it lets nobody through now.
    var isOpen: Bool { openUntil != nil }

    /// How long to wait before asking again; zero lets the call through.
    mutating func admit(_ now: MonotonicTime) -> Duration {
        guard let openUntil else { return .zero }
        if now < openUntil { return openUntil - now }
        if let probeUntil, now < probeUntil { return CircuitBreaker.probeWait }
        probeUntil = now + CircuitBreaker.rest
        return .zero
    }

    /// Learns how a call ended.
    mutating func note(failed: Bool, _ now: MonotonicTime) {
        if openUntil != nil {
            guard failed else { return self = CircuitBreaker() }
            openUntil = now + CircuitBreaker.rest
            probeUntil = nil
            return
        }
        calls.append((now, failed))
        calls.removeAll { now - $0.at > CircuitBreaker.span }
        calls = Array(calls.suffix(CircuitBreaker.window))
        let failures = calls.count { $0.failed }
        if failures >= CircuitBreaker.failuresMin, failures * 2 >= calls.count {
            openUntil = now + CircuitBreaker.rest
            calls = []
        }
    }
}

/// The circuit breakers of the workspaces that this process sends to.
@LoopActor
final class WorkspaceBreakers {
    /// Above this many workspaces those that are closed are forgotten.
    static let limit = 10_000

    private var breakers: [String: CircuitBreaker] = [:]

    nonisolated init() {}

    /// Zero: the workspace may be called.
    func admit(_ message: ResolvedMessage) -> Duration {
        let key = WorkspaceBreakers.key(message)
        // Only a breaker that was noted can be open.
        return breakers[key]?.admit(EventLoop.shared.now) ?? .zero
    }

    /// Learns what a call of the workspace came to.
    func note(_ report: SendReport, _ message: ResolvedMessage) {
        let isUnknown = if case .unknown = report.outcome { true } else { false }
        if breakers.count >= WorkspaceBreakers.limit {
            breakers = breakers.filter { $0.value.isOpen }
        }
        breakers[WorkspaceBreakers.key(message), default: CircuitBreaker()]
            .note(failed: isUnknown || report.isOutage, EventLoop.shared.now)
    }

    private static func key(_ message: ResolvedMessage) -> String {
        "\(message.job.tenant)|\(message.channel.workspaceCode)"
    }
}
