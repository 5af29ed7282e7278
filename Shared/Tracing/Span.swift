public import EventLoop

/// A step of a trace that is recorded: what was done, as part of what, for how long.
///
/// There is one only while somebody records; what nobody records costs a look at ``current``. (The
/// facade swift-distributed-tracing asks its tracer at each step, also for nobody.)
@LoopActor
public final class Span {
    /// The part that a step plays, in the numbers of OpenTelemetry.
    public enum Kind: Int, Sendable, Hashable {
        /// Something that the process does by itself.
        case step = 1
        /// It answers a request.
        case server
        /// It waits for another process's answer.
        case client
        /// It leaves something for later.
        case producer
        /// It takes up what was left.
        case consumer
    }

    /// What is known about a step beside its name.
    public enum Value: Sendable, Hashable {
        /// A text; never what a person wrote.
        case text(String)
        /// A number.
        case int(Int64)
    }

    /// The step at hand; nil while nobody records.
    public nonisolated static var current: Span? { atHand.get() }

    /// Written out, because the macro makes it part of the loop's state.
    nonisolated static let atHand = TaskLocal<Span?>(wrappedValue: nil)

    /// Takes each step that has ended; without one nothing is recorded.
    public static var recorder: (@LoopActor (Span) -> Void)?

    private static var identifiers = IdentifierSource()

    /// The place in the trace.
    public nonisolated let place: TraceParent
    /// What was done; few different ones, so that they can be compared.
    public nonisolated let name: String
    /// The part that it plays.
    public nonisolated let kind: Kind
    /// When it began.
    public nonisolated let began: MonotonicTime
    /// How long it took; zero until it has ended.
    public private(set) var took: Duration = .zero
    /// What is known about it.
    public private(set) var attributes: [(name: String, value: Value)] = []
    /// Why it failed; nil when it did not.
    public private(set) var fault: String?

    init(_ name: String, _ kind: Kind, _ place: TraceParent, began: MonotonicTime) {
        self.name = name
        self.kind = kind
        self.place = place
        self.began = began
    }

    /// Adds something that is known.
    public func note(_ name: String, _ value: Value) { attributes.append((name, value)) }

    /// Says that it failed.
    public func fail(_ reason: String) { fault = reason }

    private func end() {
        took = MonotonicTime.now() - began
        Span.recorder?(self)
    }

    /// Runs `body` as this step; an error that it throws is the step's too.
    func run<Value>(_ body: @LoopActor () async throws -> Value) async rethrows -> Value {
        defer { end() }
        do {
            return try await Span.atHand.withValue(self) { try await body() }
        } catch {
            fault = fault ?? "\(type(of: error))"
            throw error
        }
    }

    /// A step below `place`, which begins now unless it began before it was known whose it is.
    static func below(
        _ place: TraceParent,
        _ name: String,
        _ kind: Kind,
        began: MonotonicTime? = nil
    ) -> Span {
        Span(name, kind, place.child(span: identifiers.next() | 1), began: began ?? .now())
    }

    /// Records a step of the one at hand that has ended now.
    public static func past(_ name: String, since began: MonotonicTime) {
        if let current { below(current.place, name, .step, began: began).end() }
    }

    /// Records a step below `place` that has ended now, if that is recorded.
    public static func past(
        _ name: String,
        _ kind: Kind,
        below place: TraceParent?,
        since began: MonotonicTime
    ) {
        if let place, place.isRecorded { below(place, name, kind, began: began).end() }
    }
}

/// Runs `body` as a step of the one at hand; simply runs it where nobody records.
@LoopActor
public func withSpan<Value>(
    _ name: String,
    _ kind: Span.Kind = .step,
    _ body: @LoopActor () async throws -> Value
) async rethrows -> Value {
    guard let current = Span.current else { return try await body() }
    return try await Span.below(current.place, name, kind).run(body)
}

/// Runs `body` as a step below `place`, which came from elsewhere: a row, an event.
///
/// What is at hand is left aside, whatever it is.
///
/// - Parameter began: when the step began, if that was before its place was known.
@LoopActor
public func withSpan<Value>(
    _ name: String,
    _ kind: Span.Kind,
    below place: TraceParent?,
    began: MonotonicTime? = nil,
    _ body: @LoopActor () async throws -> Value
) async rethrows -> Value {
    guard let place, place.isRecorded else {
        guard Span.current != nil else { return try await body() }
        return try await Span.atHand.withValue(nil) { try await body() }
    }
    return try await Span.below(place, name, kind, began: began).run(body)
}

/// Runs `body` with `span` at hand, whatever is at hand now: for work that is done for somebody else.
@LoopActor
public func withSpan<Value>(
    of span: Span?,
    _ body: @LoopActor () async throws -> Value
) async rethrows -> Value {
    guard span !== Span.current else { return try await body() }
    return try await Span.atHand.withValue(span) { try await body() }
}

/// Answers a request as the step `place`, if that is recorded.
@LoopActor
public func withSpan<Value>(
    serving place: TraceParent,
    _ name: @autoclosure () -> String,
    _ body: @LoopActor () async throws -> Value
) async rethrows -> Value {
    guard place.isRecorded else { return try await body() }
    return try await Span(name(), .server, place, began: .now()).run(body)
}
