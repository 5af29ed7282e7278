import Testing

@testable import Tracing

@Suite("TraceParent")
struct TraceParentTests {
    private static let trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    private static let span = "00f067aa0ba902b7"

    @Test(
        "a valid value is taken",
        arguments: ["00-\(trace)-\(span)-01", "00-\(trace)-\(span)-00"]
    )
    func valid(text: String) throws {
        let parent = try #require(TraceParent(Array(text.utf8)))
        #expect(parent.description == text)
        #expect(parent.traceID == TraceParentTests.trace)
    }

    @Test("a later version is taken with what it adds, and written as version 00")
    func laterVersion() throws {
        let text = "cc-\(TraceParentTests.trace)-\(TraceParentTests.span)-01-what-comes"
        let parent = try #require(TraceParent(Array(text.utf8)))
        #expect(parent.description == "00-\(TraceParentTests.trace)-\(TraceParentTests.span)-01")
    }

    @Test(
        "anything else is not",
        arguments: [
            "", "00", "00-\(trace)-\(span)", "00-\(trace)-\(span)-01-x", "ff-\(trace)-\(span)-01",
            "00-00000000000000000000000000000000-\(span)-01", "00-\(trace)-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-\(span)-01", "00_\(trace)-\(span)-01",
            "cc-\(trace)-\(span)-01x", "00-\(trace)-\(span)-0g", " 00-\(trace)-\(span)-01",
        ]
    )
    func invalid(text: String) {
        #expect(TraceParent(Array(text.utf8)) == nil)
    }

    @Test("a child keeps the trace and the flags")
    func child() throws {
        let text = "00-\(TraceParentTests.trace)-\(TraceParentTests.span)-01"
        let parent = try #require(TraceParent(Array(text.utf8)))
        let child = parent.child(span: 0xabc)
        #expect(child.description == "00-\(TraceParentTests.trace)-0000000000000abc-01")
    }
}
