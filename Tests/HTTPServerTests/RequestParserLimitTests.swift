import Testing

@testable import HTTPServer

@Suite("RequestParser: limits")
struct RequestParserLimitTests {
    private func filler(_ count: Int) -> String { String(repeating: "x", count: count) }

    private func result(
        _ text: String,
        bodyLimit: Int = 1024,
        limits: HTTPLimits = HTTPLimits()
    ) -> ParserOutcome.End {
        outcomeOfAllCuts(latin1(text), bodyLimit: bodyLimit, limits: limits).end
    }

    @Test("the published limits hold")
    func published() {
        let limits = HTTPLimits()
        #expect(limits.methodLength == 32)
        #expect(limits.requestLineSize == 8_192)
        #expect(limits.headerSize == 16_384)
        #expect(limits.fieldCount == 100)
        #expect(limits.chunkExtensionSize == 1_024)
        #expect(limits.trailerSize == 8_192)
    }

    @Test("a request line may be as long as its limit, not a byte longer")
    func requestLine() {
        let rest = " HTTP/1.1\r\nHost: a\r\n\r\n"
        let room = 8_192 - "GET / HTTP/1.1".utf8.count
        #expect(result("GET /\(filler(room))\(rest)") == .idle)
        #expect(result("\r\nGET /\(filler(room))\(rest)") == .idle)
        #expect(result("GET /\(filler(room + 1))\(rest)") == .failed(.requestLineSize))
        #expect(result("\r\nGET /\(filler(room + 1))\(rest)") == .failed(.requestLineSize))
        #expect(result("GET /?\(filler(20_000))") == .failed(.requestLineSize))
    }

    @Test("a header section may be as large as its limit, not a byte larger")
    func header() {
        let fixed = "Host: a\r\n".utf8.count + "X: \r\n".utf8.count + 2
        let room = 16_384 - fixed
        let start = "GET / HTTP/1.1\r\nHost: a\r\nX: "
        #expect(result("\(start)\(filler(room))\r\n\r\n") == .idle)
        #expect(result("\(start)\(filler(room + 1))\r\n\r\n") == .failed(.headerSize))
        #expect(result("\(start)\(filler(20_000))") == .failed(.headerSize))
        #expect(result("GET / HTTP/1.1\r\n\(filler(20_000))") == .failed(.headerSize))
        #expect(
            result("GET / HTTP/1.1\r\nX:\(String(repeating: " ", count: 20_000))")
                == .failed(.headerSize)
        )
    }

    @Test("the largest request line and the largest header section fit together")
    func both() {
        let line = "GET /\(filler(8_192 - "GET / HTTP/1.1".utf8.count)) HTTP/1.1\r\n"
        let room = 16_384 - "Host: a\r\nX: \r\n\r\n".utf8.count
        #expect(result("\r\n\(line)Host: a\r\nX: \(filler(room))\r\n\r\n") == .idle)
        #expect(
            result("\r\n\(line)Host: a\r\nX: \(filler(room + 1))\r\n\r\n")
                == .failed(.headerSize)
        )
    }

    @Test("a head may have as many fields as the limit, not one more")
    func fieldCount() {
        let start = "GET / HTTP/1.1\r\nHost: a\r\n"
        let fields = String(repeating: "X: y\r\n", count: 99)
        #expect(result("\(start)\(fields)\r\n") == .idle)
        #expect(result("\(start)\(fields)Y: z\r\n\r\n") == .failed(.fieldCount))
        #expect(result("\(start)\(fields)Y") == .failed(.fieldCount))
    }

    @Test("a chunk's extensions may be as long as their limit, not a byte longer")
    func chunkExtension() {
        let start = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        #expect(result("\(start)1;\(filler(1_023))\r\nx\r\n0\r\n\r\n") == .idle)
        #expect(
            result("\(start)1;\(filler(1_024))\r\nx\r\n0\r\n\r\n")
                == .failed(.chunkExtensionSize)
        )
        #expect(result("\(start)1;\(filler(2_000))") == .failed(.chunkExtensionSize))
        #expect(result("\(start)0;\(filler(1_024))\r\n\r\n") == .failed(.chunkExtensionSize))
    }

    @Test("all extensions of a body together have a limit")
    func chunkExtensionTotal() {
        var limits = HTTPLimits()
        limits.chunkExtensionTotalSize = 20
        let start = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        let chunk = "1;abcd\r\nx\r\n"
        let four = start + String(repeating: chunk, count: 4)
        #expect(result("\(four)0\r\n\r\n", limits: limits) == .idle)
        #expect(result("\(four)0;\r\n\r\n", limits: limits) == .failed(.chunkExtensionSize))
        #expect(result("\(four)0\r\n\r\n\(four)0\r\n\r\n", limits: limits) == .idle)
    }

    @Test("a trailer section may be as large as its limit, not a byte larger")
    func trailer() {
        let start = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
        let room = 8_192 - "X: \r\n\r\n".utf8.count
        #expect(result("\(start)X: \(filler(room))\r\n\r\n") == .idle)
        #expect(result("\(start)X: \(filler(room + 1))\r\n\r\n") == .failed(.trailerSize))
        #expect(result("\(start)\(filler(9_000))") == .failed(.trailerSize))
        let fields = String(repeating: "X: y\r\n", count: 100)
        #expect(result("\(start)\(fields)\r\n") == .idle)
        #expect(result("\(start)\(fields)Y: z\r\n\r\n") == .failed(.fieldCount))
    }

    @Test("a body may be as large as the route allows, not a byte larger")
    func body() {
        let start = "POST / HTTP/1.1\r\nHost: a\r\n"
        #expect(result("\(start)Content-Length: 5\r\n\r\nhello", bodyLimit: 5) == .idle)
        #expect(
            result("\(start)Content-Length: 5\r\n\r\nhello", bodyLimit: 4)
                == .failed(.bodySize)
        )
        let chunks = "\(start)Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        #expect(result(chunks, bodyLimit: 5) == .idle)
        #expect(result(chunks, bodyLimit: 4) == .failed(.bodySize))
        #expect(result("\(start)Content-Length: 1\r\n\r\nx", bodyLimit: 0) == .failed(.bodySize))
        #expect(result("\(start)Content-Length: 0\r\n\r\n", bodyLimit: 0) == .idle)
    }

    @Test("a declared length over the limit fails before a byte of the body is read")
    func declaredLength() throws {
        let bytes = latin1("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n123456789")
        var parser = RequestParser()
        var position = 0
        guard case .head(let head) = parser.next(bytes, &position, end: bytes.count) else {
            Issue.record("no head")
            return
        }
        #expect(head.framing == .length(9))
        #expect(position == bytes.count - 9)
        #expect(parser.phase == .decision)
        #expect(parser.acceptBody(limit: 8)?.status == 413)
        #expect(parser.phase == .failed(RequestError(.bodySize)))
        guard case .failed(let error) = parser.next(bytes, &position, end: bytes.count) else {
            Issue.record("went on after the refusal")
            return
        }
        #expect(error.code == .bodySize && position == bytes.count - 9)
    }

    @Test("going on without a decision about the body is a fault of the program")
    func decision() async {
        await #expect(processExitsWith: .failure) {
            var parser = RequestParser()
            var position = 0
            let bytes = latin1("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            _ = parser.next(bytes, &position, end: bytes.count)
            _ = parser.next(bytes, &position, end: bytes.count)
        }
    }
}
