import EventLoop
import Testing

@testable import HTTPServer

@Suite("EventStream", .timeLimit(.minutes(1)))
@LoopActor
struct EventStreamTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let id: String?
        let event: String?
        let data: String
        let text: String
        var testDescription: String { text.debugDescription }
    }

    nonisolated static let rows = [
        Row(id: nil, event: nil, data: "a", text: "data: a\n\n"),
        Row(id: nil, event: nil, data: "", text: "data: \n\n"),
        Row(id: "7", event: "x.y", data: "{}", text: "id: 7\nevent: x.y\ndata: {}\n\n"),
        Row(id: nil, event: nil, data: "a\nb", text: "data: a\ndata: b\n\n"),
        Row(
            id: nil,
            event: nil,
            data: "a\r\nb\rc\n",
            text: "data: a\ndata: b\ndata: c\ndata: \n\n"
        ),
        Row(id: nil, event: nil, data: "a\n\nb", text: "data: a\ndata: \ndata: b\n\n"),
        Row(id: "1\n2\0", event: "a\r\nb", data: "x", text: "id: 12\nevent: ab\ndata: x\n\n"),
        Row(id: nil, event: nil, data: "é", text: "data: é\n\n"),
    ]

    @Test("an event has the form of the standard", arguments: rows)
    func encoding(row: Row) {
        let bytes = EventStream.encode(id: row.id, event: row.event, data: row.data)
        #expect(String(decoding: bytes, as: UTF8.self) == row.text)
    }

    private func route(_ stream: EventStream) -> Route {
        Route(
            .get,
            "/events",
            access: .open,
            summary: "",
            responses: [200: RouteResponse("events", contentType: "text/event-stream")]
        ) { _ in .events(stream) }
    }

    private let request = "GET /events HTTP/1.1\r\nHost: x\r\n\r\n"

    @Test("events come as they are sent, and the end when the stream is closed")
    func live() async throws {
        let stream = EventStream()
        var end: EventStream.End?
        stream.onEnd = { end = $0 }
        let server = try await TestServer([route(stream)])
        #expect(stream.send(id: "1", data: "early"))
        let client = try await server.client()
        try await client.send(request)
        let head = try await client.response()
        #expect(head["Content-Type"] == "text/event-stream")
        #expect(head["Transfer-Encoding"] == "chunked")
        #expect(head["Connection"] == "close")
        let early = "id: 1\ndata: early\n\n"
        #expect(try await client.text(atLeast: 20) == "13\r\n\(early)\r\n")
        // Two events of one tick leave in one chunk.
        #expect(stream.send(data: "b"))
        #expect(stream.send(data: "c"))
        #expect(try await client.text(atLeast: 20) == "12\r\ndata: b\n\ndata: c\n\n\r\n")
        stream.close()
        #expect(stream.send(data: "late") == false)
        #expect(try await client.remainder() == Array("0\r\n\r\n".utf8))
        #expect(end == .closed)
        #expect(stream.bufferedBytes == 0)
    }

    @Test("HTTP/1.0 gets the events bare, up to the end of the connection")
    func http10() async throws {
        let stream = EventStream()
        let server = try await TestServer([route(stream)])
        let client = try await server.client()
        try await client.send("GET /events HTTP/1.0\r\n\r\n")
        #expect(try await client.response()["Transfer-Encoding"] == nil)
        stream.send(data: "x")
        stream.close()
        #expect(try await client.remainder() == Array("data: x\n\n".utf8))
    }

    @Test("HEAD gets the head, and the stream ends")
    func head() async throws {
        let stream = EventStream()
        let server = try await TestServer([route(stream)])
        let client = try await server.client()
        try await client.send("HEAD /events HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try await client.response(toHead: true).status == 200)
        #expect(stream.end == .closed)
    }

    @Test("a quiet stream carries comments")
    func comments() async throws {
        let stream = EventStream()
        let server = try await TestServer([route(stream)]) {
            $0.deadlines.streamComment = .milliseconds(30)
        }
        let client = try await server.client()
        try await client.send(request)
        _ = try await client.response()
        let comment = "e\r\n: still here\n\n\r\n"
        #expect(try await client.text(atLeast: 2 * comment.utf8.count).hasPrefix(comment + comment))
    }

    @Test("a client that goes away ends the stream, by reset and by plain close")
    func clientGone() async throws {
        for isReset in [true, false] {
            let stream = EventStream()
            let server = try await TestServer([route(stream)])
            let client = try await server.client()
            try await client.send(request)
            _ = try await client.response()
            if isReset { client.reset() } else { client.finishSending() }
            try await eventually("the stream has ended") { stream.end == .clientGone }
            #expect(stream.send(data: "x") == false)
            try await eventually("so has the connection") {
                server.server.readings.connections == 0
            }
        }
    }

    @Test("a reader that lets the buffer run full is cut")
    func overflow() async throws {
        let stream = EventStream(bufferLimit: 100_000)
        var ends: [EventStream.End] = []
        stream.onEnd = { ends.append($0) }
        let server = try await TestServer([route(stream)])
        let client = try await server.client(receiveBuffer: 4096)
        try await client.send(request)
        _ = try await client.response()
        let event = String(repeating: "x", count: 10_000)
        var sent = 0
        while stream.send(data: event), sent < 5000 {
            sent += 1
            if sent % 5 == 0 { try await EventLoop.shared.sleep(for: .milliseconds(1)) }
        }
        #expect(ends == [.overflow])
        #expect(sent < 5000)
        try await eventually("the connection is cut") { server.server.readings.connections == 0 }
        #expect(try await client.remainder() == nil)
    }

    @Test("one event larger than the buffer ends the stream as well")
    func oversized() {
        let stream = EventStream(bufferLimit: 100)
        #expect(stream.send(data: String(repeating: "x", count: 92)))
        #expect(stream.bufferedBytes == 100)
        #expect(stream.send(data: "") == false)
        #expect(stream.end == .overflow)
    }

    @Test("a sender that waits for room never loses its reader")
    func waitForRoom() async throws {
        let stream = EventStream(bufferLimit: 100_000)
        let server = try await TestServer([route(stream)])
        let client = try await server.client(receiveBuffer: 4096)
        try await client.send(request)
        _ = try await client.response()
        let event = EventStream.encode(data: String(repeating: "x", count: 9_992))
        let sender = Task {
            for _ in 0..<300 {
                guard await stream.waitForRoom() else { return false }
                stream.send(encoded: event)
            }
            stream.close()
            return true
        }
        let received = try await client.remainder()
        #expect(await sender.value)
        #expect((received?.count ?? 0) > 300 * event.count)
        #expect(stream.end == .closed)
    }

    @Test("a drain ends streams cleanly")
    func drain() async throws {
        let stream = EventStream()
        let server = try await TestServer([route(stream)])
        let client = try await server.client()
        try await client.send(request)
        _ = try await client.response()
        #expect(await server.server.drain(within: .seconds(5)))
        #expect(try await client.remainder() == Array("0\r\n\r\n".utf8))
        #expect(stream.end == .closed)
    }
}

extension TestClient {
    func text(atLeast count: Int) async throws -> String {
        String(decoding: try await bytes(atLeast: count), as: UTF8.self)
    }
}
