import EventLoop
import Foundation
import HTTPClient
import Testing

@Suite("HTTPClient failures", .timeLimit(.minutes(2)))
@LoopActor struct FailureTests {
    // MARK: Nothing was sent

    @Test("a refused connection: nothing was sent")
    func refused() async throws {
        let server = StubServer { _ in }
        let url = server.url
        server.stop()
        let client = HTTPClient()
        try await eventually { isClosed(server.port) }
        for delivery in [OutgoingRequest.Delivery.repeatable, .once, .onceAlone] {
            var request = OutgoingRequest(.post, url, body: [1])
            request.delivery = delivery
            let error = await failure(client, request)
            #expect(error?.code == .connect)
            #expect(error?.mayHaveBeenSent == false)
        }
    }

    @Test("a name without an address: nothing was sent")
    func unknownName() async {
        let error = await failure(HTTPClient(), OutgoingRequest(.post, "http://name.invalid/"))
        #expect(error?.code == .resolve)
        #expect(error?.mayHaveBeenSent == false)
        #expect(error?.message.contains("name.invalid") == true)
    }

    @Test("a peer that never accepts: connect deadline, nothing was sent")
    func connectDeadline() async throws {
        // A queue of one place that is taken: the kernel drops every further SYN.
        let full = try FullListener()
        var request = OutgoingRequest(.post, "http://127.0.0.1:\(full.port)/", body: [1])
        request.connectTimeout = .milliseconds(150)
        let error = await failure(HTTPClient(), request)
        #expect(error?.code == .timeout)
        #expect(error?.mayHaveBeenSent == false)
        full.close()
    }

    @Test("a TLS handshake that is cut, garbled or never answered: nothing was sent")
    func handshake() async throws {
        let cut = StubServer { connection in
            _ = connection.readMore()
            connection.resetAtClose()
        }
        let garbled = StubServer { connection in
            _ = connection.readMore()
            connection.send("HTTP/1.1 400 Bad Request\r\n\r\n")
        }
        let silent = StubServer { $0.readToEnd() }
        for server in [cut, garbled, silent] {
            var request = OutgoingRequest(.post, "https://127.0.0.1:\(server.port)/", body: [1])
            if server === silent { request.connectTimeout = .milliseconds(200) }
            let error = await failure(HTTPClient(), request)
            #expect(error?.code == (server === silent ? .timeout : .tls))
            #expect(error?.mayHaveBeenSent == false)
            try await eventually { server.connections == 1 }
        }
    }

    // MARK: It was sent

    enum Break: String, CaseIterable, Sendable {
        case reset
        case close
        case closeInHead
        case closeInBody
        case closeInChunk
        case resetInBody
    }

    @Test("a connection that breaks after the request", arguments: Break.allCases)
    func broken(how: Break) async {
        let server = StubServer { connection in
            _ = connection.readRequest()
            switch how {
            case .reset: connection.resetAtClose()
            case .close: break
            case .closeInHead: connection.send("HTTP/1.1 200 OK\r\nContent-Le")
            case .closeInBody: connection.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
            case .closeInChunk:
                connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf")
            case .resetInBody:
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
                connection.resetAtClose()
            }
        }
        let client = HTTPClient()
        let error = await failure(client, OutgoingRequest(.post, server.url, body: [1]))
        #expect(error?.code == .reset)
        #expect(error?.mayHaveBeenSent == true)
        #expect(server.requests.count == 1)
        #expect(client.readings.inFlight == 0)
    }

    @Test("a peer that breaks while the request still leaves: it may have been sent")
    func brokenUpload() async {
        let server = StubServer { connection in
            _ = connection.readMore()
            connection.resetAtClose()
        }
        let body = [UInt8](repeating: 0x61, count: 8 << 20)
        let error = await failure(HTTPClient(), OutgoingRequest(.post, server.url, body: body))
        #expect(error?.code == .reset)
        #expect(error?.mayHaveBeenSent == true)
    }

    @Test("a peer that is silent after the request: first-byte deadline, it may have been sent")
    func silent() async throws {
        let server = StubServer { connection in
            _ = connection.readRequest()
            connection.readToEnd()
        }
        var request = OutgoingRequest(.post, server.url, body: [1])
        request.firstByteTimeout = .milliseconds(50)
        var error = await failure(HTTPClient(), request)
        // On a busy machine the first deadlines may pass before the request is out.
        while error?.mayHaveBeenSent == false && request.firstByteTimeout < .seconds(8) {
            #expect(error?.code == .timeout)
            request.firstByteTimeout *= 2
            error = await failure(HTTPClient(), request)
        }
        #expect(error?.code == .timeout)
        #expect(error?.mayHaveBeenSent == true)
        try await eventually { server.requests.count == 1 }
    }

    @Test("an answer that starts in time and trickles: only the total deadline ends it")
    func trickle() async {
        let server = StubServer { connection in
            _ = connection.readRequest()
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while connection.send("x") { usleep(10_000) }
        }
        var request = OutgoingRequest(.get, server.url)
        request.firstByteTimeout = .milliseconds(100)
        var error: HTTPClientError?
        // On a busy machine the first byte may be late for the first deadlines.
        repeat {
            request.firstByteTimeout *= 2
            request.totalTimeout = request.firstByteTimeout * 2
            let start = MonotonicTime.now()
            error = await failure(HTTPClient(), request)
            #expect(error?.code == .timeout)
            if error?.message.contains("whole answer") == true {
                #expect(MonotonicTime.now() - start >= request.totalTimeout)
                return
            }
        } while request.firstByteTimeout < .seconds(8)
        Issue.record("ended by the deadline of the first byte, which had come: \(error as Any)")
    }

    @Test("a slow first byte within the deadline is waited for")
    func slowFirstByte() async throws {
        let server = StubServer { connection in
            _ = connection.readRequest()
            usleep(100_000)
            connection.send(answer("late"))
        }
        let response = try await HTTPClient().send(OutgoingRequest(.get, server.url))
        #expect(response.text == "late")
        #expect(response.took >= .milliseconds(100))
    }

    @Test(
        "what is not HTTP/1",
        arguments: [
            "\u{0}\u{1}\u{2}garbage", "hello\r\n\r\n", "HTTP/1.1 abc OK\r\n\r\n",
            "ICY 200 OK\r\n\r\n",
            "HTTP/9.9 200 OK\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n",
        ]
    )
    func garbage(text: String) async {
        let server = StubServer { connection in
            _ = connection.readRequest()
            connection.send(text)
        }
        let error = await failure(HTTPClient(), OutgoingRequest(.get, server.url))
        #expect(error?.code == .badResponse)
        #expect(error?.mayHaveBeenSent == true)
    }

    private func isClosed(_ port: UInt16) -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        return connectLoopback(descriptor, port) != 0
    }
}

@discardableResult
func connectLoopback(_ descriptor: Int32, _ port: UInt16) -> Int32 {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    return withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
    }
}

/// A listener that accepts nothing and whose queue is full.
struct FullListener {
    let port: UInt16
    private let descriptors: [Int32]

    init() throws {
        var descriptors = [socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)]
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        port = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                precondition(bind(descriptors[0], $0, size) == 0 && listen(descriptors[0], 0) == 0)
                getsockname(descriptors[0], $0, &size)
            }
            return UInt16(bigEndian: $0.pointee.sin_port)
        }
        for _ in 0..<4 {
            let client = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            _ = fcntl(client, F_SETFL, O_NONBLOCK)
            connectLoopback(client, port)
            descriptors.append(client)
        }
        self.descriptors = descriptors
    }

    func close() { for descriptor in descriptors { Glibc.close(descriptor) } }
}
