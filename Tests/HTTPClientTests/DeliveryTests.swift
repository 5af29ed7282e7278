import EventLoop
import Glibc
import HTTPClient
import Testing

@Suite("HTTPClient delivery", .timeLimit(.minutes(1)))
@LoopActor struct DeliveryTests {
    /// Answers `/first`; takes any other request and closes without a byte.
    private func closingServer() -> StubServer {
        StubServer { connection in
            while let request = connection.readRequest(), request.line.contains("/first") {
                connection.send(answer())
            }
        }
    }

    @Test("repeatable: curl sends again when a used connection closes without an answer")
    func repeatable() async throws {
        let server = closingServer()
        let client = HTTPClient()
        _ = try await client.send(OutgoingRequest(.get, server.url + "/first"))
        let error = await failure(client, OutgoingRequest(.post, server.url + "/second", body: [1]))
        // This is the behaviour that `once` exists to prevent; it needs a used connection.
        #expect(server.requests.filter { $0.line.contains("/second") }.count == 2)
        #expect(error?.code == .reset)
        #expect(error?.mayHaveBeenSent == true)
    }

    @Test("once: exactly one request is seen, and it may have been sent", arguments: [true, false])
    func once(isAlone: Bool) async throws {
        let second = Guarded<[Int]>([])
        let server = StubServer { connection in
            while let request = connection.readRequest() {
                guard request.line.contains("/first") else {
                    return second.withLock { $0.append(connection.index) }
                }
                connection.send(answer())
            }
        }
        let client = HTTPClient()
        // Leaves an idle connection.
        _ = try await client.send(OutgoingRequest(.get, server.url + "/first"))
        var request = OutgoingRequest(.post, server.url + "/second", body: [1])
        request.delivery = isAlone ? .onceAlone : .once
        let error = await failure(client, request)
        #expect(second.withLock { $0 } == [isAlone ? 2 : 1])
        #expect(error?.code == .reset)
        #expect(error?.mayHaveBeenSent == true)
    }

    @Test("once: a connection that closed before it was used is no reason to fail")
    func onceAfterClose() async throws {
        let server = StubServer { connection in
            _ = connection.readRequest()
            connection.send(answer())
        }
        let client = HTTPClient()
        var request = OutgoingRequest(.post, server.url, body: [1])
        request.delivery = .once
        for _ in 0..<3 {
            _ = try await client.send(request)
            try await eventually { server.openConnections == 0 }
        }
        #expect(server.requests.count == 3)
    }

    @Test("once: what has rested for long is not used")
    func onceAfterRest() async throws {
        let server = StubServer.answering { _ in answer() }
        var configuration = HTTPClientConfiguration()
        configuration.onceConnectionLifetime = .seconds(1)
        let client = HTTPClient(configuration)
        var request = OutgoingRequest(.post, server.url, body: [1])
        request.delivery = .once
        for _ in 0..<3 { _ = try await client.send(request) }
        #expect(server.connections == 1)
        try await EventLoop.shared.sleep(for: .milliseconds(2_100))
        _ = try await client.send(request)
        #expect(server.connections == 2)
    }

    @Test("once alone: its connection is closed afterwards and never used again")
    func onceAloneIsNotReused() async throws {
        let server = StubServer.answering { _ in answer() }
        let client = HTTPClient()
        var request = OutgoingRequest(.post, server.url, body: [1])
        request.delivery = .onceAlone
        for _ in 0..<3 { _ = try await client.send(request) }
        #expect(server.connections == 3)
        try await eventually { server.openConnections == 0 }
        // The setting does not stick to the handle.
        request.delivery = .repeatable
        for _ in 0..<3 { _ = try await client.send(request) }
        #expect(server.connections == 4)
    }

    @Test("a repetition that finds nobody is still reported as perhaps sent")
    func repeatedThenRefused() async throws {
        let port = Port()
        let server = StubServer { connection in
            while let request = connection.readRequest(), request.line.contains("/first") {
                connection.send(answer())
            }
            port.server?.stopListening()
            // The listener is closed before the connection is.
            usleep(50_000)
        }
        port.set(server)
        let client = HTTPClient()
        _ = try await client.send(OutgoingRequest(.get, server.url + "/first"))
        let error = await failure(client, OutgoingRequest(.post, server.url + "/second", body: [1]))
        #expect(error?.code == .connect)
        #expect(error?.mayHaveBeenSent == true)
        #expect(server.requests.count == 2)
        port.set(nil)
    }

    @Test("a used connection that had closed while idle is not taken for a request")
    func closedWhileIdle() async throws {
        let server = StubServer { connection in
            _ = connection.readRequest()
            connection.send(answer())
        }
        let client = HTTPClient()
        for _ in 0..<3 {
            _ = try await client.send(OutgoingRequest(.post, server.url, body: [1]))
            try await eventually { server.openConnections == 0 }
        }
        #expect(server.requests.count == 3)
        #expect(server.connections == 3)
    }
}

/// Hands the server to its own connection threads.
private final class Port: Sendable {
    private let slot = Guarded<StubServer?>(nil)
    var server: StubServer? { slot.withLock { $0 } }
    func set(_ server: StubServer?) { slot.withLock { $0 = server } }
}
