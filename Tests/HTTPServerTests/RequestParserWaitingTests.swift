import Testing

@testable import HTTPServer

@Suite("RequestParser: incomplete input")
struct RequestParserWaitingTests {
    @Test("every true beginning of a request is waited on")
    func prefixes() {
        let request = latin1(
            "POST /hello?a=%41 HTTP/1.1\r\nHost: localhost\r\nX-Empty:\r\n"
                + "Transfer-Encoding: chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n0\r\nT: u\r\n\r\n"
        )
        let headSize = request.count - "5;a=\"b\"\r\nhello\r\n0\r\nT: u\r\n\r\n".utf8.count
        for size in 0...request.count {
            let result = outcome(of: [request[..<size]])
            switch size {
            case 0, request.count: #expect(result.end == .idle)
            case ..<headSize: #expect(result.end == .inHead, "after \(size) bytes")
            default: #expect(result.end == .inBody, "after \(size) bytes")
            }
        }
    }

    @Test("a body of stated length is waited on to its last byte")
    func length() {
        let request = latin1("POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc")
        for missing in 1...3 {
            let result = outcome(of: [request.dropLast(missing)])
            #expect(result.end == .inBody)
            #expect(result.requests.first?.body.count == 3 - missing)
        }
    }

    @Test("an empty line alone leaves the connection idle")
    func emptyLine() {
        #expect(outcomeOfAllCuts(latin1("")).end == .idle)
        #expect(outcomeOfAllCuts(latin1("\r")).end == .idle)
        #expect(outcomeOfAllCuts(latin1("\r\n")).end == .idle)
        #expect(outcomeOfAllCuts(latin1("\r\nG")).end == .inHead)
        let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        #expect(outcomeOfAllCuts(latin1("\(request)\r\n\(request)\r\n")).end == .idle)
        #expect(
            outcomeOfAllCuts(latin1("\(request)\r\n\r\n\(request)")).end == .failed(.requestLine)
        )
    }

    @Test("a request is known as soon as its last byte is there, a fault at its first byte")
    func promptness() {
        let head = latin1("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(outcome(of: [head[...]]).requests.first?.isComplete == true)
        for text in [
            "GET / HTTP/2", "GET /\n", "GET / HTTP/1.1\r\nA ", "GET / HTTP/1.1\r\n ", "\0",
        ] {
            let bytes = latin1(text)
            #expect(outcome(of: [bytes.dropLast()]).end != outcome(of: [bytes[...]]).end)
            guard case .failed = outcome(of: [bytes[...]]).end else {
                Issue.record("\(text) is still waited on")
                continue
            }
        }
    }

    @Test("a head of one byte at a time costs no more than its bytes")
    func linearWork() {
        // The scanner never looks back further than the line: its position only grows.
        var scanner = HeadScanner(limits: HTTPLimits())
        let head = latin1("GET /a HTTP/1.1\r\nHost: a\r\nX: y  \r\n\r\n")
        var last = 0
        for size in 1...head.count {
            guard let isComplete = try? scanner.scan(head.span.extracting(0..<size)) else {
                Issue.record("refused at \(size)")
                return
            }
            #expect(scanner.position == size && scanner.position > last)
            #expect(isComplete == (size == head.count))
            last = scanner.position
        }
    }

    @Test("a head keeps its own bytes and none of those behind it")
    func retainedBytes() {
        let head = latin1("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        let bytes = head + latin1("GET /next HTTP/1.1\r\n")
        for cut in 0..<head.count {
            var parser = RequestParser()
            var position = 0
            _ = parser.next(bytes, &position, end: cut)
            #expect(position == cut)
            guard case .head(let read) = parser.next(bytes, &position, end: bytes.count) else {
                Issue.record("no head after a cut at \(cut)")
                return
            }
            #expect(read.bytes == head && position == head.count)
        }
    }

    @Test("CR is followed by LF everywhere, or the request is refused")
    func onlyLineFeedAfterReturn() {
        let request = latin1(
            "\r\nPOST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                + "1\r\nx\r\n2;a\r\nxy\r\n0\r\nT: u\r\n\r\n"
        )
        for place in request.indices where request[place] == .lineFeed {
            for byte in UInt8.min...UInt8.max where byte != .lineFeed {
                var bytes = request
                bytes[place] = byte
                guard case .failed(let code) = outcome(of: [bytes[...]]).end else {
                    Issue.record("byte \(byte) at \(place) was taken for LF")
                    continue
                }
                #expect(code == .lineEnding || code == .chunkEnd)
            }
        }
    }
}
