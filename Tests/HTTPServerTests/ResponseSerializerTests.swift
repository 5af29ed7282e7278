import Testing

@testable import HTTPServer

@Suite("ResponseSerializer")
struct ResponseSerializerTests {
    private func head(
        _ status: Int = 200,
        _ fields: HTTPFields = [:],
        framing: ResponseFraming = .length(0),
        version: HTTPVersion = .http11,
        keepsAlive: Bool = true
    ) -> String {
        var serializer = ResponseSerializer()
        var output = latin1("before")
        serializer.appendHead(
            status: status,
            fields: fields,
            framing: framing,
            version: version,
            keepsAlive: keepsAlive,
            now: 784_111_777,
            to: &output
        )
        return String(decoding: output, as: UTF8.self)
    }

    private let date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"

    @Test("a head is appended: status line, Date, framing, fields, empty line")
    func plain() {
        #expect(
            head(200, ["Content-Type": "application/json"], framing: .length(1_024))
                == "beforeHTTP/1.1 200 OK\r\n\(date)Content-Length: 1024\r\n"
                + "Content-Type: application/json\r\n\r\n"
        )
    }

    @Test("Connection says what the version does not")
    func connection() {
        let start = "beforeHTTP/1.1 200 OK\r\n\(date)"
        let end = "Content-Length: 0\r\n\r\n"
        #expect(head() == start + end)
        #expect(head(keepsAlive: false) == "\(start)Connection: close\r\n\(end)")
        #expect(head(version: .http10) == "\(start)Connection: keep-alive\r\n\(end)")
        #expect(
            head(version: .http10, keepsAlive: false) == "\(start)Connection: close\r\n\(end)"
        )
    }

    @Test("a stream is framed by chunks, or by the end of the connection")
    func streams() {
        let start = "beforeHTTP/1.1 200 OK\r\n\(date)"
        #expect(head(framing: .chunked) == "\(start)Transfer-Encoding: chunked\r\n\r\n")
        #expect(
            head(framing: .untilClose, version: .http10) == "\(start)Connection: close\r\n\r\n"
        )
    }

    @Test("a status without body has no framing", arguments: [204, 304])
    func bodiless(status: Int) {
        #expect(ResponseSerializer.isBodiless(status))
        #expect(!head(status).contains("Content-Length"))
        #expect(!head(status, framing: .chunked).contains("Transfer-Encoding"))
        #expect(!ResponseSerializer.isBodiless(200))
    }

    @Test("fields that frame the message are written by the serializer alone")
    func doubleFraming() {
        let fields: HTTPFields = [
            "content-LENGTH": "5", "A": "1", "Transfer-Encoding": "chunked",
            "connection": "close", "DATE": "now", "Dates": "2",
        ]
        #expect(
            head(200, fields)
                == "beforeHTTP/1.1 200 OK\r\n\(date)Content-Length: 0\r\nA: 1\r\nDates: 2\r\n\r\n"
        )
    }

    @Test("the date follows the clock, from second to second")
    func dateCache() {
        var serializer = ResponseSerializer()
        let dates = [10, 10, 11, 10].map { (now: Int64) -> String in
            var output: [UInt8] = []
            serializer.appendHead(
                status: 200,
                fields: [:],
                framing: .length(0),
                version: .http11,
                keepsAlive: true,
                now: now,
                to: &output
            )
            let text = String(decoding: output, as: UTF8.self)
            return String(text.split(separator: "\r\n")[1].suffix(6))
        }
        #expect(dates == ["10 GMT", "10 GMT", "11 GMT", "10 GMT"])
    }

    @Test("lengths are written in decimal", arguments: [0, 9, 10, 99, 100, 65_536, Int.max])
    func decimal(number: Int) {
        var output: [UInt8] = []
        ResponseSerializer.appendDecimal(number, to: &output)
        #expect(String(decoding: output, as: UTF8.self) == String(number))
    }

    @Test("chunks can be read back by the decoder")
    func chunks() throws {
        var output = latin1("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        let start = output.count
        ResponseSerializer.appendChunk(latin1("hello"), to: &output)
        ResponseSerializer.appendChunk([], to: &output)
        ResponseSerializer.appendChunk([UInt8](repeating: 0x78, count: 300), to: &output)
        ResponseSerializer.appendLastChunk(to: &output)
        #expect(output[start...].starts(with: latin1("5\r\nhello\r\n12c\r\nxxx")))
        let result = outcomeOfAllCuts(output)
        #expect(result.requests.first?.body.count == 305 && result.end == .idle)
    }

    @Test("every status has a line, with a phrase where the standard names one")
    func statusLines() {
        func line(_ status: Int) -> String {
            var output: [UInt8] = []
            StatusLine.append(status, to: &output)
            return String(decoding: output, as: UTF8.self)
        }
        #expect(line(200) == "HTTP/1.1 200 OK\r\n")
        #expect(line(431) == "HTTP/1.1 431 Request Header Fields Too Large\r\n")
        #expect(line(299) == "HTTP/1.1 299 \r\n")
        #expect(line(599) == "HTTP/1.1 599 \r\n")
        #expect(line(600) == "HTTP/1.1 600 \r\n")
        #expect(line(199) == "HTTP/1.1 199 \r\n")
    }

    @Test("the interim response asks for the body")
    func interim() {
        var output: [UInt8] = []
        ResponseSerializer.appendContinue(to: &output)
        #expect(output == latin1("HTTP/1.1 100 Continue\r\n\r\n"))
    }
}
