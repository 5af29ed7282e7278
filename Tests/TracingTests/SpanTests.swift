import EventLoop
import Testing

@testable import Tracing

/// One recorder for the whole process: one test at a time.
@Suite("Spans", .serialized)
@LoopActor
struct SpanTests {
    private struct Fault: Error {}

    private static let caller = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    /// Runs `body` on the loop and answers the steps that were recorded, in the order of their ends.
    private func recorded(_ body: @LoopActor () async throws -> Void) async rethrows -> [Span] {
        var ended: [Span] = []
        Span.recorder = { ended.append($0) }
        defer { Span.recorder = nil }
        try await body()
        return ended
    }

    private func place(_ text: String = caller) -> TraceParent {
        var source = IdentifierSource()
        return source.step(below: TraceParent(text: text))
    }

    @Test("steps stand below the one that they are part of, and the request below its caller")
    func tree() async {
        let place = place()
        let spans = await recorded {
            await withSpan(serving: place, "GET /") {
                await withSpan("outer") { await withSpan("inner") {} }
                Span.past("late", since: .now())
            }
        }
        #expect(spans.map(\.name) == ["inner", "outer", "late", "GET /"])
        let (inner, outer, late, served) = (spans[0], spans[1], spans[2], spans[3])
        #expect(served.place.parentID == "00f067aa0ba902b7")
        #expect(served.place.spanID == place.spanID)
        #expect(outer.place.parentID == served.place.spanID)
        #expect(inner.place.parentID == outer.place.spanID)
        #expect(late.place.parentID == served.place.spanID)
        #expect(Set(spans.map(\.place.traceID)) == ["4bf92f3577b34da6a3ce929d0e0e4736"])
        #expect(Set(spans.map(\.place.spanID)).count == 4)
    }

    @Test("what nobody records leaves nothing, and costs no step")
    func unrecorded() async {
        let place = place("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")
        let spans = await recorded {
            await withSpan(serving: place, "GET /") {
                await withSpan("outer") { #expect(Span.current == nil) }
                await withSpan("left", .consumer, below: place) { #expect(Span.current == nil) }
                Span.past("late", since: .now())
                Span.past("left", .consumer, below: nil, since: .now())
            }
        }
        #expect(spans.isEmpty)
    }

    @Test("what was left by another trace, or by none, is not part of the one at hand")
    func elsewhere() async throws {
        let (own, other) = (place(), "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-01")
        let spans = try await recorded {
            try await withSpan(serving: own, "GET /") {
                let left = try #require(TraceParent(text: other))
                await withSpan("event", .consumer, below: left) { await withSpan("step") {} }
                await withSpan("nobody's", .consumer, below: nil) { await withSpan("step") {} }
            }
        }
        #expect(spans.map(\.name) == ["step", "event", "GET /"])
        #expect(spans[1].place.traceID == "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
        #expect(spans[1].place.parentID == "bbbbbbbbbbbbbbbb")
        #expect(spans[0].place.parentID == spans[1].place.spanID)
    }

    @Test("an error that a step throws is the step's, and goes on")
    func faults() async {
        let place = place()
        let spans = await recorded {
            await #expect(throws: Fault.self) {
                try await withSpan(serving: place, "GET /") {
                    try await withSpan("fails") { throw Fault() }
                }
            }
        }
        #expect(spans.map(\.fault) == ["Fault", "Fault"])
    }

    @Test("a step that began before its place was known has its whole time")
    func since() async throws {
        let place = place()
        let began = MonotonicTime.now()
        try await EventLoop.shared.sleep(for: .milliseconds(5))
        let spans = await recorded {
            await withSpan("late", .consumer, below: place, began: began) {}
        }
        #expect(spans[0].began == began && spans[0].took >= .milliseconds(5))
    }

    @Test("tasks that a step starts are part of it")
    func tasks() async {
        let place = place()
        let spans = await recorded {
            await withSpan(serving: place, "GET /") {
                async let one: Void = withSpan("one") {}
                let two = Task { await withSpan("two") {} }
                await one
                await two.value
            }
        }
        #expect(spans.dropLast().allSatisfy { $0.place.parentID == place.spanID })
        #expect(Set(spans.map(\.name)) == ["one", "two", "GET /"])
    }
}
