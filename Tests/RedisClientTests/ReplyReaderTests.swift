import Testing

@testable import RedisClient

@Suite("ReplyReader")
struct ReplyReaderTests {
    private static let big = [UInt8](repeating: 0x62, count: 3000)

    /// Answers of every kind, one behind the other, and what they are.
    private static let samples: [(text: [UInt8], value: RedisValue)] = [
        (Array("+OK\r\n".utf8), .status("OK")),
        (Array("-ERR no such key é\r\n".utf8), .error("ERR no such key é")),
        (Array(":-9223372036854775808\r\n".utf8), .int(.min)),
        (Array("$-1\r\n".utf8), .null),
        (Array("*-1\r\n".utf8), .null),
        (Array("*0\r\n".utf8), .array([])),
        (Array("$0\r\n\r\n".utf8), .string([])),
        (Array("$4\r\n\r\n\0\u{7f}\r\n".utf8), .string([13, 10, 0, 0x7f])),
        (Array("$3000\r\n".utf8) + big + Array("\r\n".utf8), .string(big)),
        (
            Array("*4\r\n*2\r\n:1\r\n*0\r\n$-1\r\n-ERR x\r\n*1\r\n*1\r\n*1\r\n+deep\r\n".utf8),
            .array([
                .array([.int(1), .array([])]), .null, .error("ERR x"),
                .array([.array([.array([.status("deep")])])]),
            ])
        ),
    ]

    private static let stream = samples.flatMap(\.text)
    private static let values = samples.map(\.value)

    private func feed(_ reader: ReplyReader, _ bytes: some Collection<UInt8>) {
        Array(bytes).withUnsafeBytes { reader.feed($0) }
    }

    private func all(of reader: ReplyReader) throws -> [RedisValue] {
        var values: [RedisValue] = []
        while let value = try reader.next() { values.append(value) }
        return values
    }

    @Test("answers of every kind come out whole and in order")
    func whole() throws {
        let reader = try ReplyReader()
        feed(reader, ReplyReaderTests.stream)
        #expect(try all(of: reader) == ReplyReaderTests.values)
        #expect(reader.unfinished == 0)
    }

    @Test("a cut at any byte changes nothing")
    func cutAnywhere() throws {
        let stream = ReplyReaderTests.stream
        for cut in 1..<stream.count {
            let reader = try ReplyReader()
            feed(reader, stream[..<cut])
            var values = try all(of: reader)
            feed(reader, stream[cut...])
            values += try all(of: reader)
            #expect(values == ReplyReaderTests.values, "cut at \(cut)")
        }
    }

    @Test("single bytes do as well")
    func byteByByte() throws {
        let reader = try ReplyReader()
        var values: [RedisValue] = []
        for byte in ReplyReaderTests.stream {
            feed(reader, [byte])
            values += try all(of: reader)
        }
        #expect(values == ReplyReaderTests.values)
    }

    @Test(
        "what is no answer is refused, and nothing comes after it",
        arguments: [
            "HTTP/1.1 400 Bad Request\r\n\r\n", "+OK\r\n?\r\n", "*2\r\n:1\r\n!x\r\n",
        ]
    )
    func malformed(text: String) throws {
        let reader = try ReplyReader()
        feed(reader, text.utf8)
        let error = #expect(throws: RedisError.self) { try self.all(of: reader) }
        #expect(error?.code == .protocolViolation)
        #expect(error?.message.isEmpty == false)
        feed(reader, "+OK\r\n".utf8)
        #expect(throws: RedisError.self) { try self.all(of: reader) }
    }

    @Test("a server with TLS that refuses plain text is told by its alert")
    func alert() throws {
        let reader = try ReplyReader()
        #expect(!reader.hasHeard)
        for byte: UInt8 in [0x15, 0x03, 0x01, 0, 2, 2, 0x46] { feed(reader, [byte]) }
        let error = #expect(throws: RedisError.self) { try self.all(of: reader) }
        #expect(error?.message.contains("rediss://") == true)
    }

    @Test("arrays may be seven deep, which is more than any command answers, and not a hundred")
    func nesting() throws {
        let reader = try ReplyReader()
        feed(reader, (String(repeating: "*1\r\n", count: 7) + ":1\r\n").utf8)
        var expected = RedisValue.int(1)
        for _ in 0..<7 { expected = .array([expected]) }
        #expect(try reader.next() == expected)
        feed(reader, String(repeating: "*1\r\n", count: 100).utf8)
        let error = #expect(throws: RedisError.self) { try reader.next() }
        #expect(error?.code == .protocolViolation)
    }

    @Test("what is unfinished counts all bytes of an array, and none of the answers before it")
    func unfinished() throws {
        let reader = try ReplyReader()
        feed(reader, "+OK\r\n*3\r\n$2\r\nab\r\n".utf8)
        #expect(try reader.next() == .status("OK"))
        #expect(reader.unfinished == 12)
        #expect(try reader.next() == nil)
        feed(reader, [UInt8](repeating: 0x2b, count: 1) + Array("x\r\n:1\r".utf8))
        #expect(try reader.next() == nil)
        #expect(reader.unfinished == 19)
        feed(reader, "\n:2\r\n".utf8)
        #expect(try reader.next() == .array([.string([0x61, 0x62]), .status("x"), .int(1)]))
        #expect(reader.unfinished == 4)
    }

    @Test("an array that claims more elements than there is memory for costs none")
    func hugeClaim() throws {
        let reader = try ReplyReader()
        feed(reader, "*2000000000\r\n:1\r\n".utf8)
        #expect(try reader.next() == nil)
        #expect(reader.unfinished == 17)
    }
}
