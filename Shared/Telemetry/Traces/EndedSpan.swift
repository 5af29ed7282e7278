public import EventLoop
public import Logging
public import Tracing

/// A step of a trace that is over, as it is told to others.
public struct EndedSpan: Sendable {
    /// The place in the trace.
    public let place: TraceParent
    /// What was done.
    public let name: String
    /// The part that it plays.
    public let kind: Span.Kind
    /// When it ended, nanoseconds since 1970.
    public let ended: Int64
    /// How long it took, in nanoseconds.
    public let took: Int64
    /// What is known about it.
    public let attributes: [(name: String, value: Span.Value)]
    /// Why it failed; nil when it did not.
    public let fault: String?

    /// When it began, nanoseconds since 1970: by the time it took, which no clock change falsifies.
    var began: Int64 { ended - took }
}

extension EndedSpan {
    /// The step that has ended just now.
    @LoopActor
    public init(_ span: Span) {
        self.init(
            place: span.place,
            name: span.name,
            kind: span.kind,
            ended: WallClock.nanoseconds(),
            took: span.took.nanoseconds,
            attributes: span.attributes,
            fault: span.fault
        )
    }

    /// Writes it as a line of the log; of what is known about it, what a line may hold.
    public func log(to logger: Logger) {
        var metadata: Logger.Metadata = [
            "trace_id": .string(place.traceID), "span_id": .string(place.spanID),
            "operation": .string(name), "took_ms": .stringConvertible(Double(took) / 1e6),
        ]
        if let parent = place.parentID { metadata["parent_id"] = .string(parent) }
        if let fault { metadata["error"] = .string(fault) }
        for (name, value) in attributes
        where LogKeys.details.contains(name) || LogKeys.context.contains(name) {
            metadata[name] =
                switch value {
                case .text(let text): .string(text)
                case .int(let number): .stringConvertible(number)
                }
        }
        logger.info("span", metadata: metadata)
    }
}
