import EventLoop
import JSON
import Testing

@testable import HTTPServer

/// Deadlines on real connections, scaled down so that one lasts a fraction of a second.
@Suite("HTTPServer: deadlines", .timeLimit(.minutes(1)))
@LoopActor
struct HTTPServerDeadlineTests {
    private final class Cuts: HTTPServerObserver {
        var reasons: [ConnectionCut] = []
        var answers: [AnsweredRequest] = []
        nonisolated init() {}
        func answered(_ request: AnsweredRequest) { answers.append(request) }
        func cut(_ reason: ConnectionCut) { reasons.append(reason) }
    }

    private let cuts = Cuts()

    private func start(
        _ routes: [Route],
        change: (inout HTTPDeadlines) -> Void
    ) async throws -> TestServer {
        try await TestServer(routes, observer: cuts) { change(&$0.deadlines) }
    }

    private func code(_ response: WireResponse) throws -> String? {
        try JSON(parsing: response.body)["code"]?.stringValue
    }

    /// A client that has an answer already.
    ///
    /// The deadline of its next head runs since that head's first byte. The first one's runs since
    /// the connection was taken, and may pass before a byte is sent when the machine is busy.
    private func served(_ server: TestServer) async -> TestClient? {
        for _ in 0..<100 {
            guard let client = try? await server.client() else { return nil }
            try? await client.send("GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
            if let response = try? await client.response(), response.status == 200 { return client }
        }
        return nil
    }

    @Test("a head that comes byte by byte is cut at its absolute deadline")
    func slowHead() async throws {
        let server = try await start([TestRoutes.ping]) { $0.head = .milliseconds(150) }
        let client = try #require(await served(server))
        let begin = MonotonicTime.now()
        // A byte every 10 ms: any deadline per read would go on for ever.
        let drip = Task {
            for byte in "GET /ping HTTP/1.1\r\nHost: x\r\nA: \(String(repeating: "b", count: 4000))"
                .utf8
            {
                try await client.send([byte])
                try await EventLoop.shared.sleep(for: .milliseconds(10))
            }
        }
        let response = try await server.reading(client)
        drip.cancel()
        #expect(response.status == 408)
        #expect(response["Connection"] == "close")
        #expect(MonotonicTime.now() - begin >= .milliseconds(150))
        #expect(cuts.reasons == [.requestTimeout])
    }

    @Test("a body that comes byte by byte is cut at its absolute deadline")
    func slowBody() async throws {
        let server = try await start([TestRoutes.echo]) { $0.body = .milliseconds(150) }
        let client = try await server.client()
        try await client.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        let drip = Task {
            for _ in 0..<1000 {
                try await client.send("x")
                try await EventLoop.shared.sleep(for: .milliseconds(10))
            }
        }
        let response = try await server.reading(client)
        drip.cancel()
        #expect(response.status == 408)
        #expect(server.server.readings.bodyBytes == 0)
    }

    @Test("a connection that says nothing, or nothing more, is closed without a word")
    func idle() async throws {
        let server = try await start([TestRoutes.ping]) {
            $0.head = .milliseconds(100)
            $0.idle = .milliseconds(100)
        }
        let silent = try await server.client()
        #expect(try await silent.remainder() == [])
        let client = try #require(await served(server))
        #expect(try await client.remainder() == [])
        #expect(cuts.reasons.isEmpty)
    }

    @Test("a handler that takes too long is answered 503, and cancelled")
    func slowHandler() async throws {
        var wasCancelled = false
        let slow = Route(.get, "/slow", access: .open, summary: "", responses: [:]) { _ in
            do {
                try await EventLoop.shared.sleep(for: .seconds(60))
            } catch {
                wasCancelled = true
            }
            return .empty()
        }
        let server = try await start([slow]) { $0.handler = .milliseconds(50) }
        let client = try await server.client()
        try await client.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        let response = try await client.response()
        #expect(response.status == 503)
        #expect(try code(response) == "handler_timeout")
        #expect(response["Retry-After"] == "1")
        #expect(response["Connection"] == "close")
        try await eventually("the handler was cancelled") { wasCancelled }
        try await eventually("nothing is in flight") {
            server.server.readings.requestsInFlight == 0
        }
        #expect(cuts.reasons == [.handlerTimeout])
        #expect(cuts.answers.map(\.status) == [503])
    }

    @Test("a client that does not read its answer is cut")
    func stalledReader() async throws {
        let server = try await start([TestRoutes.large(64 << 20)]) {
            $0.writeStall = .milliseconds(100)
        }
        let client = try await server.client(receiveBuffer: 4096)
        try await client.send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        try await eventually("the connection was cut") {
            server.server.readings.connections == 0 && server.server.readings.accepted == 1
        }
        #expect(cuts.reasons == [.writeStall])
        // What is in the kernel may still be read; then comes the reset, not a clean end.
        #expect(try await client.remainder() == nil)
    }
}

extension TestServer {
    /// Reads an answer on a thread of its own, while `client` goes on sending on its own.
    func reading(_ client: TestClient) async throws -> WireResponse {
        try await client.reader().response()
    }
}
