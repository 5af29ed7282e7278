internal import DequeModule

/// Steps that wait to be exported: pure, with a limit.
///
/// What comes when it is full is lost; its owner counts that.
public struct SpanQueue: Sendable {
    /// How many may wait.
    public let limit: Int
    /// How many leave together.
    public let batch: Int
    private var waiting = Deque<EndedSpan>()

    /// An empty queue.
    public init(limit: Int, batch: Int) {
        self.limit = limit
        self.batch = min(batch, limit)
    }

    /// How many wait.
    public var count: Int { waiting.count }
    /// Whether enough wait to leave.
    public var isDue: Bool { waiting.count >= batch }

    /// Takes a step; false when there is no place for it.
    public mutating func add(_ span: EndedSpan) -> Bool {
        guard waiting.count < limit else { return false }
        waiting.append(span)
        return true
    }

    /// The oldest, as many as leave together.
    public mutating func take() -> [EndedSpan] {
        let count = min(batch, waiting.count)
        let taken = Array(waiting.prefix(count))
        waiting.removeFirst(count)
        return taken
    }
}
