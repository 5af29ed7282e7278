import JSON
import Testing
import Tracing

@testable import Telemetry

@Suite("OTLPDocument")
struct OTLPDocumentTests {
    private static let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    private func ended() -> EndedSpan {
        var source = IdentifierSource()
        return EndedSpan(
            place: source.step(below: TraceParent(text: OTLPDocumentTests.parent)),
            name: "send",
            kind: .client,
            ended: 1_800_000_000_000_000_000,
            took: 5_000_000,
            attributes: [
                ("peer.service", .text("slack")), ("http.response.status_code", .int(503)),
            ],
            fault: "503"
        )
    }

    @Test("a step is written as OTLP's JSON mapping says: hexadecimal ids, numbers as text")
    func document() throws {
        let span = ended()
        let bytes = OTLPDocument.bytes([span], resource: [("service.name", .text("messaging"))])
        let resource = try #require(try JSON(parsing: bytes)["resourceSpans"]?.arrayValue?.first)
        #expect(
            resource["resource"]?["attributes"]
                == [["key": "service.name", "value": ["stringValue": "messaging"]]]
        )
        let written = try #require(
            resource["scopeSpans"]?.arrayValue?.first?["spans"]?.arrayValue?.first
        )
        #expect(written["traceId"] == "4bf92f3577b34da6a3ce929d0e0e4736")
        #expect(written["parentSpanId"] == "00f067aa0ba902b7")
        #expect(written["spanId"]?.stringValue?.count == 16)
        #expect(written["name"] == "send" && written["kind"] == 3)
        #expect(written["status"] == ["code": 2, "message": "503"])
        #expect(
            written["attributes"] == [
                ["key": "peer.service", "value": ["stringValue": "slack"]],
                ["key": "http.response.status_code", "value": ["intValue": "503"]],
            ]
        )
        #expect(written["startTimeUnixNano"] == "1799999999995000000")
        #expect(written["endTimeUnixNano"] == "1800000000000000000")
    }

    @Test("a full queue takes no more, and gives the oldest first")
    func queue() {
        var queue = SpanQueue(limit: 3, batch: 2)
        let span = ended()
        let taken = (0..<5).map { _ in queue.add(span) }
        #expect(taken == [true, true, true, false, false])
        #expect(queue.isDue)
        let batches = (0..<3).map { _ in queue.take().count }
        #expect(batches == [2, 1, 0])
        let isTaken = queue.add(span)
        #expect(isTaken && !queue.isDue)
    }
}
