import EventLoop
import Foundation
import HTTPClient
import Testing

@Suite("HTTPClient", .timeLimit(.minutes(2)))
@LoopActor struct HTTPClientTests {
    @Test("status, fields and body of the answer arrive")
    func answerArrives() async throws {
        let server = StubServer.answering { _ in
            answer("hello", status: 418, "X-One: 1", "x-two:  two words ", "X-One: again")
        }
        let response = try await HTTPClient().send(OutgoingRequest(.get, server.url + "/a?b=c"))
        #expect(response.status == 418)
        #expect(response.text == "hello")
        #expect(response.field("X-TWO") == "two words")
        #expect(response.field("x-one") == "1")
        #expect(response.field("x") == nil)
        #expect(response.fields.map(\.name) == ["Content-Length", "X-One", "x-two", "X-One"])
        #expect(response.took > .zero)
        #expect(server.requests.map(\.line) == ["GET /a?b=c HTTP/1.1"])
    }

    @Test("a connection is used again, and so is the handle")
    func reuse() async throws {
        let server = StubServer.answering { _ in answer() }
        let client = HTTPClient()
        for _ in 0..<5 { _ = try await client.send(OutgoingRequest(.get, server.url)) }
        #expect(server.connections == 1)
        #expect(client.readings.idleHandles == 1)
        #expect(client.readings.inFlight == 0)
    }

    @Test("what is sent", arguments: OutgoingRequest.Method.allCases, [nil, "", "{\"a\":1}"])
    func wire(method: OutgoingRequest.Method, body: String?) async throws {
        let server = StubServer.answering { _ in answer(body == "none" ? "" : "") }
        let client = HTTPClient()
        // First something with everything set, so that a leftover would show.
        var first = OutgoingRequest(.post, server.url + "/first", body: Array("leftover".utf8))
        first.fields = [("Content-Type", "text/plain"), ("X-Left", "over")]
        first.delivery = .onceAlone
        _ = try await client.send(first)
        let bytes = body.map { Array($0.utf8) }
        _ = try await client.send(OutgoingRequest(method, server.url + "/x", body: bytes))

        let request = try #require(server.requests.last)
        #expect(request.line == "\(method.rawValue) /x HTTP/1.1")
        let sendsLength = [.post, .put, .patch].contains(method) || body != nil
        #expect(request.has("Content-Length") == (sendsLength && method != .head))
        #expect(request.body == (method == .head ? [] : bytes ?? []))
        #expect(!request.has("Content-Type"))
        #expect(!request.has("X-Left"))
        #expect(!request.has("Expect"))
        #expect(!request.has("Cookie"))
        #expect(!request.has("Accept-Encoding"))
        #expect(request.fields.contains("User-Agent: switchboard"))
        #expect(request.fields.contains("Host: 127.0.0.1:\(server.port)"))
    }

    @Test("given fields are sent as given, an empty one included")
    func fields() async throws {
        let server = StubServer.answering { _ in answer() }
        var request = OutgoingRequest(.post, server.url, body: [1])
        request.fields = [
            ("Content-Type", "application/json; charset=utf-8"), ("X-Empty", ""), ("X-Tab", "a\tb"),
            ("User-Agent", "other/2"), ("X-Twice", "1"), ("X-Twice", "2"), ("X-Word", "Ω"),
        ]
        _ = try await HTTPClient().send(request)
        let seen = try #require(server.requests.first).fields
        for line in [
            "Content-Type: application/json; charset=utf-8", "X-Empty:", "X-Tab: a\tb",
            "User-Agent: other/2", "X-Twice: 1", "X-Twice: 2", "X-Word: Ω",
        ] {
            #expect(seen.filter { $0 == line }.count == 1, "\(line) in \(seen)")
        }
        #expect(seen.filter { $0.hasPrefix("User-Agent") }.count == 1)
    }

    @Test("a large body leaves whole, without waiting for 100-continue")
    func largeBody() async throws {
        let server = StubServer.answering { answer("\($0.body.count)") }
        var body = [UInt8](repeating: 0x61, count: 3_000_000)
        for index in stride(from: 0, to: body.count, by: 997) { body[index] = UInt8(index & 0xFF) }
        let response = try await HTTPClient().send(OutgoingRequest(.post, server.url, body: body))
        #expect(response.text == "3000000")
        #expect(server.requests.first?.body == body)
        #expect(server.requests.first?.has("Expect") == false)
    }

    @Test("a chunked answer is put together; its trailers and interim answers are dropped")
    func chunked() async throws {
        let server = StubServer.answering { _ in
            "HTTP/1.1 103 Early Hints\r\nX-Early: 1\r\n\r\n"
                + "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Real: 1\r\n\r\n"
                + "5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n"
        }
        let client = HTTPClient()
        for _ in 0..<2 {
            let response = try await client.send(OutgoingRequest(.get, server.url))
            #expect(response.status == 200)
            #expect(response.text == "hello world")
            #expect(response.fields.map(\.name) == ["Transfer-Encoding", "X-Real"])
        }
        #expect(server.connections == 1)
    }

    @Test("an answer that ends with the connection is complete")
    func untilClose() async throws {
        let server = StubServer { connection in
            _ = connection.readRequest()
            connection.send("HTTP/1.0 200 OK\r\n\r\nall of it")
        }
        let response = try await HTTPClient().send(OutgoingRequest(.get, server.url))
        #expect(response.text == "all of it")
    }

    @Test("answers without a body: HEAD, 204, 304")
    func noBody() async throws {
        let server = StubServer.answering { request in
            if request.line.hasPrefix("HEAD") {
                return "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"
            }
            return "HTTP/1.1 \(request.line.contains("/204") ? 204 : 304) X\r\n\r\n"
        }
        let client = HTTPClient()
        for (method, path, status) in [
            (OutgoingRequest.Method.head, "/", 200), (.get, "/204", 204), (.get, "/304", 304),
        ] {
            let response = try await client.send(OutgoingRequest(method, server.url + path))
            #expect(response.status == status)
            #expect(response.body.isEmpty)
        }
        #expect(server.connections == 1)
    }

    @Test("a redirect is an answer; nobody follows it", arguments: [301, 302, 303, 307, 308])
    func redirects(status: Int) async throws {
        let target = StubServer.answering { _ in answer() }
        let server = StubServer.answering { _ in
            answer("", status: status, "Location: \(target.url)/elsewhere")
        }
        let response = try await HTTPClient().send(OutgoingRequest(.post, server.url, body: [1]))
        #expect(response.status == status)
        #expect(response.field("location") == "\(target.url)/elsewhere")
        #expect(target.connections == 0)
        #expect(server.requests.count == 1)
    }

    @Test("cookies are neither kept nor sent, and nothing is decompressed")
    func cookiesAndEncodings() async throws {
        let packed = "\u{1F}looks like gzip"
        let server = StubServer.answering { _ in
            answer(packed, "Set-Cookie: a=b; Path=/", "Content-Encoding: gzip")
        }
        let client = HTTPClient()
        for _ in 0..<2 {
            let response = try await client.send(OutgoingRequest(.get, server.url))
            #expect(response.text == packed)
        }
        #expect(server.requests.allSatisfy { !$0.has("Cookie") })
    }

    @Test("200 requests at once are all answered, each with its own answer")
    func concurrency() async throws {
        let server = StubServer.answering { answer($0.line) }
        let client = HTTPClient()
        let url = server.url
        let tasks = (0..<200).map { index in
            Task { @LoopActor in
                try await client.send(OutgoingRequest(.get, "\(url)/\(index)")).text
            }
        }
        for (index, task) in tasks.enumerated() {
            #expect(try await task.value == "GET /\(index) HTTP/1.1")
        }
        #expect(server.requests.count == 200)
        #expect(server.connections <= HTTPClientConfiguration().transfersPerHostLimit)
    }

    @Test("the environment's proxies and a .netrc are ignored")
    func environment() async {
        await #expect(processExitsWith: .success) {
            let proxy = StubServer.answering { _ in answer("from the proxy") }
            for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"] {
                setenv(name, "http://127.0.0.1:\(proxy.port)", 1)
            }
            let home = NSTemporaryDirectory() + "switchboard-\(getpid())"
            try FileManager.default.createDirectory(
                atPath: home,
                withIntermediateDirectories: true
            )
            defer { try? FileManager.default.removeItem(atPath: home) }
            let secrets = "machine 127.0.0.1 login a password b\ndefault login c password d\n"
            try secrets.write(toFile: home + "/.netrc", atomically: true, encoding: .utf8)
            setenv("HOME", home, 1)
            let server = StubServer.answering {
                answer($0.has("Authorization") ? "login" : "direct")
            }
            let text = try await textOfAnswer(server.url)
            precondition(text == "direct", "got \(text)")
            precondition(proxy.connections == 0)
        }
    }
}

@LoopActor private func textOfAnswer(_ url: String) async throws -> String {
    try await HTTPClient().send(OutgoingRequest(.get, url)).text
}
