import EventLoop
import Testing

@testable import HTTPServer

@Suite("WebSocket", .timeLimit(.minutes(1)))
@LoopActor
struct WebSocketTests {
    private static let request =
        "GET /socket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        + "Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

    /// Sends every message back, until the client has gone.
    private func echo(_ keep: @escaping @LoopActor (WebSocket) -> Void = { _ in }) -> Route {
        Route(
            .get,
            "/socket",
            access: .open,
            summary: "",
            responses: [101: RouteResponse("a WebSocket")]
        ) { request in
            let socket = try WebSocket(request, messageBytesMax: 70_000)
            keep(socket)
            Task {
                while let message = await socket.receive() {
                    switch message {
                    case .text(let text): socket.send(text: text)
                    case .binary(let bytes): socket.send(binary: bytes)
                    }
                }
            }
            return socket.response
        }
    }

    private func open(_ server: TestServer, then bytes: [UInt8] = []) async throws -> TestClient {
        let client = try await server.client()
        try await client.send(Array(WebSocketTests.request.utf8) + bytes)
        let head = try await client.response()
        #expect(head.status == 101)
        #expect(head["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        #expect(head["Upgrade"] == "websocket")
        #expect(head["Connection"] == "Upgrade")
        return client
    }

    private func reads(_ client: TestClient, _ expected: [UInt8]) async throws -> Bool {
        try await client.bytes(atLeast: expected.count) == expected
    }

    @Test("messages come back; a ping is answered with its payload; the close code is given back")
    func conversation() async throws {
        let server = try await TestServer([echo()])
        let client = try await open(server)
        try await client.send(ClientFrame.text("hello"))
        #expect(try await reads(client, WebSocketFrame.encode(.text, Array("hello".utf8))))
        let large = [UInt8](repeating: 7, count: 70_000)
        try await client.send(ClientFrame.encode(2, large))
        #expect(try await reads(client, WebSocketFrame.encode(.binary, large)))
        try await client.send(ClientFrame.encode(9, [1, 2, 3]))
        #expect(try await reads(client, WebSocketFrame.encode(.pong, [1, 2, 3])))
        try await client.send(ClientFrame.close(4321, Array("done".utf8)))
        #expect(try await client.remainder() == WebSocketFrame.close(WebSocketCloseCode(4321)))
    }

    @Test("frames right behind the request are not lost")
    func early() async throws {
        let server = try await TestServer([echo()])
        let client = try await open(server, then: ClientFrame.text("a") + ClientFrame.text("b"))
        #expect(
            try await reads(
                client,
                WebSocketFrame.encode(.text, [97]) + WebSocketFrame.encode(.text, [98])
            )
        )
    }

    @Test("a broken frame is answered with its code, and the connection ends")
    func broken() async throws {
        let server = try await TestServer([echo()])
        for (frame, code) in [
            (ClientFrame.encode(1, [255]), UInt16(1007)), (ClientFrame.encode(3, []), 1002),
            (ClientFrame.encode(2, [UInt8](repeating: 0, count: 70_001)), 1009),
        ] {
            let client = try await open(server)
            try await client.send(frame)
            let rest = try await client.remainder() ?? []
            #expect(rest.count > 4 && rest[0] == 0x88)
            #expect(UInt16(rest[2]) << 8 | UInt16(rest[3]) == code)
        }
    }

    struct Refusal: Sendable, CustomTestStringConvertible {
        let change: @Sendable (String) -> String
        let status: Int
        let testDescription: String

        init(_ name: String, _ status: Int, _ change: @escaping @Sendable (String) -> String) {
            testDescription = name
            self.status = status
            self.change = change
        }

        static func replace(_ name: String, _ status: Int, _ old: String, _ new: String) -> Refusal
        {
            Refusal(name, status) { text in
                guard let range = text.firstRange(of: old) else { return text }
                return text.replacingCharacters(range, new)
            }
        }
    }

    nonisolated static let refusals = [
        Refusal.replace("no upgrade", 426, "Upgrade: websocket\r\n", ""),
        Refusal.replace("another protocol", 426, "Upgrade: websocket", "Upgrade: h2c"),
        Refusal.replace("no connection token", 426, "keep-alive, Upgrade", "keep-alive"),
        Refusal.replace("an old version", 426, "Version: 13", "Version: 8"),
        Refusal.replace("a short key", 400, "dGhlIHNhbXBsZSBub25jZQ==", "dGhl"),
        Refusal.replace("no key", 400, "Sec-WebSocket-Key", "X-Key"),
    ]

    @Test("a handshake that is none is refused, and the connection lives on", arguments: refusals)
    func refused(row: Refusal) async throws {
        let server = try await TestServer([echo(), TestRoutes.ping])
        let client = try await server.client()
        try await client.send(row.change(WebSocketTests.request))
        let answer = try await client.response()
        #expect(answer.status == row.status)
        if row.status == 426 { #expect(answer["Sec-WebSocket-Version"] == "13") }
        try await client.send("GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try await client.response().text == "pong")
    }

    @Test("a client that does not read is cut, and its buffer stays bounded")
    func slowReader() async throws {
        var socket: WebSocket?
        let server = try await TestServer([echo { socket = $0 }])
        let client = try await open(server)
        try await eventually("a socket") { socket != nil }
        var ended = false
        socket?.onEnd = { ended = true }
        let message = [UInt8](repeating: 42, count: 60_000)
        var sent = 0
        while let socket, socket.send(text: message) {
            sent += 1
            #expect(socket.output.bufferedBytes <= EventStream.bufferLimitDefault)
            try await EventLoop.shared.sleep(for: .microseconds(100))
            guard sent < 10_000 else { break }
        }
        #expect(sent < 10_000)
        #expect(ended)
        withExtendedLifetime(client) {}
    }

    @Test("a handler that takes nothing stops the reading; what was sent is not lost")
    func slowHandler() async throws {
        var socket: WebSocket?
        let route = Route(
            .get,
            "/socket",
            access: .open,
            summary: "",
            responses: [101: RouteResponse("a WebSocket")]
        ) { request in
            let made = try WebSocket(request)
            socket = made
            return made.response
        }
        let server = try await TestServer([route])
        let client = try await open(server)
        try await eventually("a socket") { socket != nil }
        let count = 2000
        let writer = client.reader()
        let payload = [UInt8](repeating: 65, count: 4000)
        async let sending: Void = writer.send(
            (0..<count).flatMap { _ in ClientFrame.encode(2, payload) }
        )
        try await eventually("a full inbox") { socket?.isInboxFull == true }
        try await EventLoop.shared.sleep(for: .milliseconds(50))
        var received = 0
        while received < count, await socket?.receive() == .binary(payload) { received += 1 }
        try await sending
        #expect(received == count)
    }

    @Test("a quiet client is asked, and cut when it gives no sign; one that answers stays")
    func heartbeat() async throws {
        var sockets: [WebSocket] = []
        let server = try await TestServer([echo { sockets.append($0) }]) {
            $0.deadlines.streamComment = .milliseconds(30)
        }
        let silent = try await open(server)
        let rest = try await silent.remainder()
        #expect(rest == nil || rest?.prefix(2) == [0x89, 0])
        let alive = try await open(server)
        for _ in 0..<6 {
            _ = try await alive.bytes(atLeast: 2)
            try await alive.send(ClientFrame.encode(10, []))
        }
        #expect(sockets.last?.isOpen == true)
    }

    @Test("a server that drains says 1001")
    func drain() async throws {
        let server = try await TestServer([echo()])
        let client = try await open(server)
        async let drained = server.server.drain(within: .seconds(2))
        #expect(try await client.remainder() == WebSocketFrame.close(.goingAway))
        _ = await drained
    }

    @Test("a client that vanishes ends its socket, and the handler with it")
    func vanishes() async throws {
        var socket: WebSocket?
        let server = try await TestServer([echo { socket = $0 }])
        let client = try await open(server)
        try await eventually("a socket") { socket != nil }
        var ended = false
        socket?.onEnd = { ended = true }
        client.reset()
        try await eventually("the end") { ended }
        #expect(await socket?.receive() == nil)
    }
}

extension String {
    fileprivate func replacingCharacters(_ range: Range<Index>, _ new: String) -> String {
        String(self[..<range.lowerBound]) + new + String(self[range.upperBound...])
    }
}
