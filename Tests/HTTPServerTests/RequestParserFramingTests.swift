import Testing

@testable import HTTPServer

@Suite("RequestParser: framing")
struct RequestParserFramingTests {
    private static func post(_ fields: String, _ body: String = "") -> String {
        "POST / HTTP/1.1\r\nHost: a\r\n\(fields)\r\n\r\n\(body)"
    }

    private static func old(_ fields: String, _ body: String = "") -> String {
        "POST / HTTP/1.0\r\nHost: a\r\n\(fields)\r\n\r\n\(body)"
    }

    @Test(
        "the length of a body is stated once and plainly, or not believed",
        arguments: [
            .taken("a length", post("Content-Length: 5", "hello")),
            .taken("a length of nothing", post("Content-Length: 0")),
            .taken("leading zeros", post("Content-Length: 0000000000000000005", "hello")),
            .taken("leading zeros are not octal", post("Content-Length: 010", "0123456789")),
            .taken("a length in HTTP/1.0", old("Content-Length: 5", "hello")),
            .taken("blanks around", post("content-LENGTH:  5\t", "hello")),
            .taken("chunks", post("Transfer-Encoding: chunked", "0\r\n\r\n")),
            .taken("chunks in capitals", post("transfer-encoding: CHUNKED ", "0\r\n\r\n")),
            .refused("an empty length", .contentLength, post("Content-Length: ")),
            .refused("a sign", .contentLength, post("Content-Length: +5", "hello")),
            .refused("a negative length", .contentLength, post("Content-Length: -5")),
            .refused("letters", .contentLength, post("Content-Length: abc")),
            .refused("letters behind", .contentLength, post("Content-Length: 5x", "hello")),
            .refused("hexadecimal", .contentLength, post("Content-Length: 0x5", "hello")),
            .refused("an underscore", .contentLength, post("Content-Length: 1_0")),
            .refused("a fraction", .contentLength, post("Content-Length: 5.0", "hello")),
            .refused("a blank inside", .contentLength, post("Content-Length: 1 0")),
            .refused(
                "20 digits",
                .contentLength,
                post("Content-Length: 00000000000000000005", "hello")
            ),
            .refused(
                "27 digits",
                .contentLength,
                post("Content-Length: 123456789123456789123456789")
            ),
            .refused("a list", .contentLength, post("Content-Length: 5, 5", "hello")),
            .refused(
                "the same twice",
                .contentLength,
                post("Content-Length: 5\r\nContent-Length: 5", "hello")
            ),
            .refused(
                "two lengths",
                .contentLength,
                post("Content-Length: 0\r\nContent-Length: 5", "hello")
            ),
            .refused(
                "empty, then a length",
                .contentLength,
                post("Content-Length: \r\nContent-Length: 5", "hello")
            ),
            .refused(
                "a blank of another alphabet",
                .contentLength,
                post("Content-Length: \u{a0}5", "hello")
            ),
            .refused("a length over the limit", .bodySize, post("Content-Length: 1025")),
            .refused(
                "more than an integer holds",
                .bodySize,
                post("Content-Length: 9999999999999999999")
            ),
        ] as [ParserCase]
    )
    func contentLength(row: ParserCase) {
        row.check()
    }

    @Test(
        "chunked alone is a transfer coding here",
        arguments: [
            .refused(
                "with a length",
                .lengthAndCoding,
                post("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n")
            ),
            .refused(
                "with a length behind",
                .lengthAndCoding,
                post("Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n")
            ),
            .refused(
                "with a length of nothing",
                .lengthAndCoding,
                post("Transfer-Encoding: chunked\r\nContent-Length: 0", "0\r\n\r\n")
            ),
            .refused(
                "unknown, with a length",
                .lengthAndCoding,
                post("Transfer-Encoding: x\r\nContent-Length: 5", "hello")
            ),
            .refused(
                "in HTTP/1.0",
                .codingInHTTP10,
                old("Transfer-Encoding: chunked", "0\r\n\r\n")
            ),
            .refused("unknown, in HTTP/1.0", .codingInHTTP10, old("Transfer-Encoding: gzip")),
            .refused("gzip", .unsupportedCoding, post("Transfer-Encoding: gzip")),
            .refused("identity", .unsupportedCoding, post("Transfer-Encoding: identity")),
            .refused(
                "gzip, then chunked",
                .unsupportedCoding,
                post("Transfer-Encoding: gzip, chunked")
            ),
            .refused(
                "chunked, then gzip",
                .unsupportedCoding,
                post("Transfer-Encoding: chunked,gzip")
            ),
            .refused(
                "chunked twice",
                .unsupportedCoding,
                post("Transfer-Encoding: chunked, chunked")
            ),
            .refused(
                "chunked in two fields",
                .unsupportedCoding,
                post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")
            ),
            .refused(
                "gzip and chunked in two fields",
                .unsupportedCoding,
                post("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked")
            ),
            .refused("a longer word", .unsupportedCoding, post("Transfer-Encoding: xchunked")),
            .refused("a parameter", .unsupportedCoding, post("Transfer-Encoding: chunked;a=b")),
            .refused(
                "a quoted parameter",
                .unsupportedCoding,
                post("Transfer-Encoding: x ; a = \"b,\\\";\" , y")
            ),
            .refused("nothing", .transferCoding, post("Transfer-Encoding:")),
            .refused(
                "an empty element before",
                .transferCoding,
                post("Transfer-Encoding: ,chunked")
            ),
            .refused(
                "an empty element behind",
                .transferCoding,
                post("Transfer-Encoding: chunked,")
            ),
            .refused(
                "an empty element between",
                .transferCoding,
                post("Transfer-Encoding: gzip,,chunked")
            ),
            .refused("two words", .transferCoding, post("Transfer-Encoding: chun ked")),
            .refused("quotes", .transferCoding, post("Transfer-Encoding: \"chunked\"")),
            .refused(
                "bytes over 127 around",
                .transferCoding,
                post("Transfer-Encoding: \u{a0}chunked\u{85}")
            ),
            .refused(
                "a parameter without name",
                .transferCoding,
                post("Transfer-Encoding: chunked;")
            ),
            .refused("a parameter without value", .transferCoding, post("Transfer-Encoding: x;a=")),
            .refused("an open quote", .transferCoding, post("Transfer-Encoding: x;a=\"b")),
            .refused("a control character", .fieldValue, post("Transfer-Encoding: \u{b}chunked")),
        ] as [ParserCase]
    )
    func transferEncoding(row: ParserCase) {
        row.check()
    }

    @Test("a request without length and coding has no body, whatever its method")
    func noBody() {
        for method in ["GET", "POST", "PUT", "DELETE", "X"] {
            let text = "\(method) / HTTP/1.1\r\nHost: a\r\n\r\n"
            let result = outcomeOfAllCuts(latin1(text + text))
            #expect(result.requests.count == 2)
            #expect(result.requests.allSatisfy { $0.framing == .none && $0.isComplete })
        }
    }

    @Test("the bytes behind a body are the next request")
    func pipelining() {
        let first = Self.post("Content-Length: 34", "GET /inner HTTP/1.1\r\nHost: a\r\n\r\n..")
        let second = Self.post(
            "Transfer-Encoding: chunked",
            "3\r\nabc\r\n2;x\r\nde\r\n0\r\nT: u\r\n\r\n"
        )
        let third = "\r\nGET /third HTTP/1.1\r\nHost: a\r\n\r\n"
        let result = outcomeOfAllCuts(latin1(first + second + third))
        #expect(result.end == .idle)
        #expect(result.requests.map(\.target) == ["/", "/", "/third"])
        #expect(
            result.requests.map { String(decoding: $0.body, as: UTF8.self) }
                == ["GET /inner HTTP/1.1\r\nHost: a\r\n\r\n..", "abcde", ""]
        )
        #expect(result.requests.map(\.framing) == [.length(34), .chunked, .none])
        #expect(result.requests[1].fields.contains("t") == false)
    }

    @Test("what follows a refused request is never read")
    func nothingAfterFailure() {
        let bad = "GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n"
        let good = "GET /second HTTP/1.1\r\nHost: a\r\n\r\n"
        let result = outcomeOfAllCuts(latin1(good + bad + good))
        #expect(result.requests.map(\.target) == ["/second"])
        #expect(result.end == .failed(.fieldName))
    }

    @Test("100-continue is heard when there is a body to ask for")
    func expectation() {
        let rows: [(text: String, heard: Bool)] = [
            (Self.post("Content-Length: 1\r\nExpect: 100-continue", "x"), true),
            (Self.post("Expect: 100-Continue\r\nTransfer-Encoding: chunked", "0\r\n\r\n"), true),
            (Self.post("Content-Length: 1", "x"), false),
            (Self.post("Expect: 100-continue"), false),
            (Self.post("Content-Length: 0\r\nExpect: 100-continue"), false),
            (Self.old("Content-Length: 1\r\nExpect: 100-continue", "x"), false),
        ]
        for row in rows {
            let result = outcomeOfAllCuts(latin1(row.text))
            #expect(result.requests.first?.expectsContinue == row.heard, "\(row.text)")
            #expect(result.end == .idle)
        }
    }

    @Test(
        "no other expectation is met",
        arguments: [
            .refused("another word", .expectation, post("Expect: 200-ok")),
            .refused("an empty one", .expectation, post("Expect:")),
            .refused("a list", .expectation, post("Expect: 100-continue, x")),
            .refused("another beside it", .expectation, post("Expect: 100-continue\r\nExpect: x")),
            .refused("in HTTP/1.0", .expectation, old("Expect: x")),
            .refused("a broken head counts first", .host, "GET / HTTP/1.1\r\nExpect: x\r\n\r\n"),
        ] as [ParserCase]
    )
    func otherExpectation(row: ParserCase) {
        row.check()
    }
}
