import EventLoop
import HTTPClient
import Testing

@Suite("HTTPClient refusals", .timeLimit(.minutes(1)))
@LoopActor struct RefusalTests {
    // MARK: Limits of the answer

    @Test("a body over the limit is cut off; one at the limit is not", arguments: [true, false])
    func bodyLimit(isChunked: Bool) async throws {
        let server = StubServer.answering { request in
            let count = Int(request.line.split(separator: " ")[1].dropFirst()) ?? 0
            let text = String(repeating: "x", count: count)
            if !isChunked { return answer(text) }
            return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                + "\(String(count, radix: 16))\r\n\(text)\r\n0\r\n\r\n"
        }
        let client = HTTPClient()
        var request = OutgoingRequest(.get, server.url + "/100000")
        request.responseLimit = 100_000
        #expect(try await client.send(request).body.count == 100_000)
        request.url = server.url + "/100001"
        let error = await failure(client, request)
        #expect(error?.code == .tooLarge)
        #expect(error?.mayHaveBeenSent == true)
        // The handle is fit for use afterwards.
        request.url = server.url + "/5"
        #expect(try await client.send(request).body.count == 5)
    }

    @Test("a body without end is cut off at the default of 1 MiB")
    func endless() async {
        let server = StubServer { connection in
            _ = connection.readRequest()
            connection.send("HTTP/1.1 200 OK\r\n\r\n")
            let piece = [UInt8](repeating: 0x78, count: 65_536)
            while connection.send(piece) {}
        }
        let error = await failure(HTTPClient(), OutgoingRequest(.get, server.url))
        #expect(error?.code == .tooLarge)
        #expect(OutgoingRequest(.get, "").responseLimit == 1_048_576)
    }

    enum Head: String, CaseIterable, Sendable {
        case longLine
        case manyFields
        case manyInterim
        case trailers
    }

    @Test("a head without end is cut off", arguments: Head.allCases)
    func heads(kind: Head) async {
        let server = StubServer { connection in
            _ = connection.readRequest()
            connection.send("HTTP/1.1 200 OK\r\n")
            switch kind {
            case .longLine:
                connection.send("X: ")
                while connection.send(String(repeating: "x", count: 4096)) {}
            case .manyFields:
                while connection.send("X: y\r\n") {}
            case .manyInterim:
                connection.send("\r\n")
                while connection.send("HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n") {}
            case .trailers:
                connection.send("Transfer-Encoding: chunked\r\n\r\n0\r\n")
                while connection.send("X: y\r\n") {}
            }
        }
        let error = await failure(HTTPClient(), OutgoingRequest(.get, server.url))
        // Curl itself ends a single line that is over its own limit.
        #expect(error?.code == .tooLarge || kind == .longLine && error != nil, "\(error as Any)")
        #expect(error?.code != .timeout)
    }

    // MARK: Refused before anything happens

    @Test(
        "URLs that are refused",
        arguments: [
            "", "/path", "example.com", "ftp://example.com/", "file:///etc/passwd", "gopher://x/",
            "http://", "http:///path", "http:/path", "http:x", "http://exa mple.com/",
            "http://example.com/a b",
            "http://example.com/\r\nX: y", "http://example.com/\u{0}", "http://example.com:99999/",
            "http://example.com:x/", "http://user@example.com/", "http://u:p@example.com/",
            "http://@example.com/", "http://example.com/ü", "http://[::1/", "http://[zz]/",
            "javascript:alert(1)", "http://" + String(repeating: "a", count: 9000),
        ]
    )
    func badURLs(url: String) async {
        let error = await failure(HTTPClient(), OutgoingRequest(.get, url))
        #expect(error?.code == .badURL)
        #expect(error?.mayHaveBeenSent == false)
    }

    @Test(
        "fields that are refused",
        arguments: [
            ("X", "a\r\nY: b"), ("X", "a\nb"), ("X", "a\rb"), ("X", "a\u{0}b"), ("X", "\u{7F}"),
            ("X", "\u{1B}[0m"), ("X\r\nY", "b"), ("X Y", "b"), ("X:", "b"), ("", "b"), ("Ü", "b"),
            ("Host", "x"), ("content-length", "1"), ("Transfer-Encoding", "chunked"),
            ("Connection", "close"), ("Expect", "100-continue"), ("Upgrade", "h2c"),
            ("X", String(repeating: "a", count: 40_000)),
        ]
    )
    func badFields(name: String, value: String) async {
        let server = StubServer.answering { _ in answer() }
        let request = OutgoingRequest(.get, server.url, fields: [(name, value)])
        let error = await failure(HTTPClient(), request)
        #expect(error?.code == .badHeader)
        #expect(error?.mayHaveBeenSent == false)
        #expect(server.connections == 0)
    }

    @Test("an error's text holds nothing of path, query, fields and body")
    func noSecrets() async {
        let server = StubServer { $0.resetAtClose() }
        var request = OutgoingRequest(.post, server.url + "/secret1?secret2", body: [0x73])
        request.fields = [("Authorization", "Bearer secret3")]
        let error = await failure(HTTPClient(), request)
        #expect(error?.description.contains("secret") == false)
        #expect(error?.message.contains("127.0.0.1") == true)
    }
}
