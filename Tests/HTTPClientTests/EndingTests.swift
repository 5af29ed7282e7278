import EventLoop
import Foundation
import HTTPClient
import Testing

@Suite("HTTPClient limits and endings", .timeLimit(.minutes(1)))
@LoopActor struct EndingTests {
    /// Never answers.
    private func silentServer() -> StubServer {
        StubServer { connection in
            while connection.readRequest() != nil {}
        }
    }

    private func small(inFlight: Int, perHost: Int, waiting: Int) -> HTTPClient {
        var configuration = HTTPClientConfiguration()
        configuration.transfersInFlightLimit = inFlight
        configuration.transfersPerHostLimit = perHost
        configuration.transfersWaitingLimit = waiting
        return HTTPClient(configuration)
    }

    @Test("places and queue full: the next one is refused at once")
    func full() async throws {
        let server = silentServer()
        let client = small(inFlight: 2, perHost: 2, waiting: 1)
        let request = OutgoingRequest(.get, server.url)
        let open = (0..<3).map { _ in Task { await outcome(client, request) } }
        try await eventually { server.requests.count == 2 && client.readings.waiting == 1 }
        let error = await failure(client, request)
        #expect(error?.code == .tooManyTransfers)
        #expect(error?.mayHaveBeenSent == false)
        client.stop()
        for task in open { #expect(await task.value.code == .stopped) }
        #expect(server.requests.count == 2)
    }

    @Test("a host that hangs takes its own places only")
    func hostLimit() async throws {
        let hanging = silentServer()
        let healthy = StubServer.answering { _ in answer() }
        let client = small(inFlight: 4, perHost: 2, waiting: 10)
        let request = OutgoingRequest(.get, hanging.url)
        let open = (0..<6).map { _ in Task { await outcome(client, request) } }
        try await eventually { client.readings.waiting == 4 }
        for _ in 0..<5 { _ = try await client.send(OutgoingRequest(.get, healthy.url)) }
        #expect(hanging.connections == 2)
        client.stop()
        for task in open { #expect(await task.value.code == .stopped) }
    }

    @Test("who waits is started when a place is free, in turn")
    func waiting() async throws {
        let server = StubServer.answering { answer($0.line) }
        let client = small(inFlight: 1, perHost: 1, waiting: 50)
        let url = server.url
        let tasks = (0..<20).map { index in
            Task { try await client.send(OutgoingRequest(.get, "\(url)/\(index)")).text }
        }
        for (index, task) in tasks.enumerated() {
            #expect(try await task.value == "GET /\(index) HTTP/1.1")
        }
        #expect(server.requests.map(\.line) == (0..<20).map { "GET /\($0) HTTP/1.1" })
        #expect(server.connections == 1)
        #expect(client.readings.waiting == 0)
    }

    @Test("the deadline holds while waiting for a place: nothing was sent")
    func deadlineWhileWaiting() async throws {
        let server = silentServer()
        let client = small(inFlight: 1, perHost: 1, waiting: 5)
        let open = Task { await outcome(client, OutgoingRequest(.get, server.url)) }
        try await eventually { server.requests.count == 1 }
        var request = OutgoingRequest(.get, server.url)
        request.totalTimeout = .milliseconds(50)
        let error = await failure(client, request)
        #expect(error?.code == .timeout)
        #expect(error?.mayHaveBeenSent == false)
        #expect(client.readings.waiting == 0)
        client.stop()
        #expect(await open.value.code == .stopped)
    }

    @Test("idle handles are kept up to their limit")
    func idleHandles() async throws {
        let server = StubServer.answering { _ in answer() }
        var configuration = HTTPClientConfiguration()
        configuration.idleHandlesLimit = 3
        let client = HTTPClient(configuration)
        let request = OutgoingRequest(.get, server.url)
        let tasks = (0..<20).map { _ in Task { try await client.send(request).status } }
        for task in tasks { #expect(try await task.value == 200) }
        #expect(client.readings.idleHandles == 3)
    }

    @Test("idle connections are kept up to their limit")
    func idleConnections() async throws {
        let server = StubServer.answering { _ in answer() }
        var configuration = HTTPClientConfiguration()
        configuration.idleConnectionsLimit = 3
        let client = HTTPClient(configuration)
        let request = OutgoingRequest(.get, server.url)
        let tasks = (0..<20).map { _ in Task { try await client.send(request).status } }
        for task in tasks { #expect(try await task.value == 200) }
        try await eventually { server.openConnections <= 3 }
        #expect(server.connections > 3)
    }

    @Test("a connection that was idle for too long is not used again")
    func idleLifetime() async throws {
        let server = StubServer.answering { _ in answer() }
        var configuration = HTTPClientConfiguration()
        configuration.idleConnectionLifetime = .seconds(1)
        let client = HTTPClient(configuration)
        for _ in 0..<2 { _ = try await client.send(OutgoingRequest(.get, server.url)) }
        #expect(server.connections == 1)
        // Curl counts in whole seconds.
        try await EventLoop.shared.sleep(for: .milliseconds(2100))
        _ = try await client.send(OutgoingRequest(.get, server.url))
        #expect(server.connections == 2)
    }

    // MARK: Cancellation

    @Test("cancelling the task ends the transfer and closes its connection")
    func cancel() async throws {
        let server = silentServer()
        let client = HTTPClient()
        let task = Task { await outcome(client, OutgoingRequest(.post, server.url, body: [1])) }
        try await eventually { server.requests.count == 1 }
        task.cancel()
        let error = await task.value.error
        #expect(error?.code == .cancelled)
        #expect(error?.mayHaveBeenSent == true)
        #expect(client.readings.inFlight == 0)
        try await eventually { server.openConnections == 0 }
    }

    @Test("cancelling from another thread does the same")
    func cancelElsewhere() async throws {
        let server = silentServer()
        let client = HTTPClient()
        let task = Task { await outcome(client, OutgoingRequest(.get, server.url)) }
        try await eventually { server.requests.count == 1 }
        try await Offload.blocking.run { task.cancel() }
        #expect(await task.value.code == .cancelled)
    }

    @Test("cancelled before or while waiting: nothing was sent")
    func cancelEarly() async throws {
        let server = silentServer()
        let client = small(inFlight: 1, perHost: 1, waiting: 5)
        let request = OutgoingRequest(.get, server.url)
        let never = Task { () -> Result<IncomingResponse, HTTPClientError> in
            withUnsafeCurrentTask { $0?.cancel() }
            return await outcome(client, request)
        }
        #expect(await never.value.error == .cancelledUnsent)
        let open = Task { await outcome(client, request) }
        try await eventually { server.requests.count == 1 }
        let waiting = Task { await outcome(client, request) }
        try await eventually { client.readings.waiting == 1 }
        waiting.cancel()
        #expect(await waiting.value.error == .cancelledUnsent)
        open.cancel()
        #expect(await open.value.code == .cancelled)
        #expect(server.requests.count == 1)
    }

    @Test("a transfer cancelled before its handle did anything: nothing was sent")
    func cancelFreshlyStarted() async throws {
        let server = StubServer.answering { _ in answer() }
        let client = HTTPClient()
        // The handle's counters now tell of this request.
        _ = try await client.send(OutgoingRequest(.post, server.url, body: [1, 2, 3]))
        let task = Task { await outcome(client, OutgoingRequest(.post, server.url, body: [1])) }
        // Runs until `send` waits, and cancels in the same tick, before curl does anything.
        await Task.yield()
        task.cancel()
        let error = await task.value.error
        #expect(error == .cancelledUnsent)
        #expect(server.requests.count == 1)
    }

    // MARK: Stop

    @Test("stop ends running and waiting transfers once each, and closes all connections")
    func stop() async throws {
        let server = silentServer()
        let idle = StubServer.answering { _ in answer() }
        let client = small(inFlight: 3, perHost: 3, waiting: 5)
        _ = try await client.send(OutgoingRequest(.get, idle.url))
        #expect(idle.openConnections == 1)
        let request = OutgoingRequest(.post, server.url, body: [1])
        let tasks = (0..<5).map { _ in Task { await outcome(client, request) } }
        try await eventually { server.requests.count == 3 && client.readings.waiting == 2 }
        client.stop()
        client.stop()
        var sent: [Bool] = []
        for task in tasks {
            let error = await task.value.error
            #expect(error?.code == .stopped)
            sent.append(error?.mayHaveBeenSent ?? false)
        }
        #expect(sent == [true, true, true, false, false])
        #expect(await failure(client, request)?.code == .stopped)
        #expect(client.readings == HTTPClientReadings.nothing)
        try await eventually { server.openConnections == 0 && idle.openConnections == 0 }
        #expect(server.requests.count == 3)
    }

    @Test("a client that is let go closes its connections")
    func letGo() async throws {
        let server = StubServer.answering { _ in answer() }
        do {
            let client = HTTPClient()
            _ = try await client.send(OutgoingRequest(.get, server.url))
            #expect(server.openConnections == 1)
        }
        try await eventually { server.openConnections == 0 }
    }
}

extension Result<IncomingResponse, HTTPClientError> {
    fileprivate var error: HTTPClientError? {
        if case .failure(let error) = self { error } else { nil }
    }

    fileprivate var code: HTTPClientError.Code? { error?.code }
}

extension HTTPClientError {
    fileprivate static let cancelledUnsent = HTTPClientError(.cancelled, "the task was cancelled")
}

extension HTTPClientReadings {
    fileprivate static let nothing = HTTPClientReadings(
        inFlight: 0,
        waiting: 0,
        idleHandles: 0,
        sockets: 0
    )
}
