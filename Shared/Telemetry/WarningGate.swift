public import EventLoop

/// Lets one warning of a kind pass per minute and counts the others.
public struct WarningGate: Sendable {
    /// How long warnings are held back after one has passed.
    static let interval: Duration = .seconds(60)

    private var next: MonotonicTime?
    private var suppressed = 0

    /// A gate through which nothing has passed.
    public init() {}

    /// Asks for a warning: nil to be silent, otherwise how many were since the last one.
    public mutating func pass(now: MonotonicTime) -> Int? {
        if let next, now < next {
            suppressed += 1
            return nil
        }
        next = now + WarningGate.interval
        defer { suppressed = 0 }
        return suppressed
    }
}
