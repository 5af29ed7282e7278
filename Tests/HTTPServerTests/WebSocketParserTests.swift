import Testing

@testable import HTTPServer

/// The cases that Autobahn's suite names, by its numbers.
@Suite("WebSocketParser")
struct WebSocketParserTests {
    typealias Event = WebSocketParser.Event

    struct Row: Sendable, CustomTestStringConvertible {
        let name: String
        let bytes: [UInt8]
        let events: [Event]
        var testDescription: String { name }

        init(_ name: String, _ bytes: [UInt8], _ events: [Event]) {
            self.name = name
            self.bytes = bytes
            self.events = events
        }
    }

    static func text(_ text: String) -> Event { .message(.text(Array(text.utf8))) }
    static func text(_ bytes: [UInt8]) -> Event { .message(.text(bytes)) }

    /// Only the kind and the code: the words are for people.
    static func brief(_ events: [Event]) -> [Event] {
        events.map { event in
            guard case .failed(let code, _) = event else { return event }
            return .failed(code, "")
        }
    }

    private static let broken = Event.failed(.protocolError, "")
    private static let invalid = Event.failed(.invalidText, "")
    private static let ping = ClientFrame.encode(9, Array("hello".utf8))
    private static let pinged = Event.ping(Array("hello".utf8))

    static let framing: [Row] = [0, 1, 125, 126, 127, 128, 65535, 65536].flatMap { size in
        let payload = [UInt8](repeating: UInt8(ascii: "*"), count: size)
        return [
            Row("1.1 text of \(size)", ClientFrame.encode(1, payload), [text(payload)]),
            Row(
                "1.2 binary of \(size)",
                ClientFrame.encode(2, payload),
                [.message(.binary(payload))]
            ),
        ]
    }

    static let pings = [
        Row("2.1 ping without payload", ClientFrame.encode(9, []), [.ping([])]),
        Row("2.2 ping with text", ping, [pinged]),
        Row("2.3 ping with bytes", ClientFrame.encode(9, [0, 255, 254]), [.ping([0, 255, 254])]),
        Row(
            "2.4 ping of 125",
            ClientFrame.encode(9, [UInt8](repeating: 254, count: 125)),
            [.ping([UInt8](repeating: 254, count: 125))]
        ),
        Row(
            "2.5 ping of 126",
            ClientFrame.encode(9, [UInt8](repeating: 254, count: 126)),
            [broken]
        ),
        Row("2.7 pong that nobody asked for", ClientFrame.encode(10, []), [.pong([])]),
        Row("2.8 the same with payload", ClientFrame.encode(10, [1]), [.pong([1])]),
        Row(
            "2.10 ten pings",
            (0..<10).flatMap { ClientFrame.encode(9, [$0]) },
            (0..<10).map { .ping([$0]) }
        ),
    ]

    static let reserved: [Row] =
        (1...7).map { bits in
            Row("3.\(bits) reserved bits", ClientFrame.encode(1, [65], reserved: bits), [broken])
        } + [
            Row(
                "3.2 after a message",
                ClientFrame.text("a") + ClientFrame.encode(1, [65], reserved: 2) + ping,
                [text("a"), broken]
            ),
            Row("3.7 of a ping", ClientFrame.encode(9, [], reserved: 4), [broken]),
        ]

    static let opcodes: [Row] = [3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map { opcode in
        Row(
            "4 opcode \(opcode)",
            ClientFrame.text("a") + ClientFrame.encode(opcode, [65]) + ping,
            [text("a"), broken]
        )
    }

    private static let start = ClientFrame.text("frag", isFinal: false)
    private static let end = ClientFrame.encode(0, Array("ment".utf8))
    private static let middle = ClientFrame.encode(0, Array("-".utf8), isFinal: false)

    static let fragments = [
        Row("5.1 ping in pieces", ClientFrame.encode(9, [1], isFinal: false), [broken]),
        Row("5.2 pong in pieces", ClientFrame.encode(10, [1], isFinal: false), [broken]),
        Row("close in pieces", ClientFrame.encode(8, [3, 232], isFinal: false), [broken]),
        Row("5.3 text in two pieces", start + end, [text("fragment")]),
        Row("5.6 a ping between", start + ping + end, [pinged, text("fragment")]),
        Row(
            "empty pieces",
            start + ClientFrame.encode(0, [], isFinal: false) + end,
            [text("fragment")]
        ),
        Row("5.9 a continuation of nothing", end + ClientFrame.text("a"), [broken]),
        Row("5.12 a continuation in pieces of nothing", middle + end, [broken]),
        Row(
            "5.15 a continuation after the end",
            start + end + middle + ping,
            [text("fragment"), broken]
        ),
        Row("5.18 text inside text", start + ClientFrame.text("b"), [broken]),
        Row(
            "5.19 pings between five pieces",
            start + middle + ping + middle + ping + end,
            [pinged, pinged, text("frag--ment")]
        ),
        Row("binary inside text", start + ClientFrame.encode(2, [1]), [broken]),
    ]

    static let closes: [Row] =
        [
            Row(
                "7.1 close, and nothing after it",
                ClientFrame.close(1000) + ping,
                [.close(.normal)]
            ),
            Row(
                "7.1.5 close inside a message",
                start + ClientFrame.close(1000) + end,
                [.close(.normal)]
            ),
            Row("7.3.1 close without payload", ClientFrame.encode(8, []), [.close(nil)]),
            Row("7.3.2 close with half a code", ClientFrame.encode(8, [3]), [broken]),
            Row(
                "7.3.4 close with a reason",
                ClientFrame.close(1000, Array("bye".utf8)),
                [.close(.normal)]
            ),
            Row(
                "7.3.5 with the longest reason",
                ClientFrame.close(1000, [UInt8](repeating: 42, count: 123)),
                [.close(.normal)]
            ),
            Row(
                "7.3.6 with one too long",
                ClientFrame.close(1000, [UInt8](repeating: 42, count: 124)),
                [broken]
            ),
            Row(
                "7.5.1 with a reason that is no UTF-8",
                ClientFrame.close(1000, [0xce, 0xff]),
                [invalid]
            ),
            Row("with a reason cut inside a character", ClientFrame.close(1000, [0xce]), [invalid]),
        ]
        + [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999].map {
            Row("7.7 code \($0)", ClientFrame.close($0), [.close(WebSocketCloseCode($0))])
        }
        + [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535].map {
            Row("7.9 code \($0)", ClientFrame.close($0), [broken])
        }

    static let lengths = [
        Row("no mask", ClientFrame.encode(1, [65], isMasked: false), [broken]),
        Row("no mask on a close", ClientFrame.encode(8, [], isMasked: false), [broken]),
        Row("2 bytes for a short length", [0x81, 0xfe, 0, 125], [broken]),
        Row("8 bytes for 65535", [0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], [broken]),
        Row("the highest bit", [0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], [broken]),
        Row(
            "a length that no machine has",
            [0x82, 0xff, 0x7f] + [UInt8](repeating: 255, count: 7),
            [.failed(.tooLarge, "")]
        ),
        Row(
            "one byte over the limit",
            [0x82, 0xff] + ClientFrame.lengthBytes(1 << 20 + 1, 8),
            [.failed(.tooLarge, "")]
        ),
        Row(
            "over the limit in pieces",
            ClientFrame.encode(2, [UInt8](repeating: 0, count: 1 << 20), isFinal: false)
                + ClientFrame.encode(0, [1]),
            [.failed(.tooLarge, "")]
        ),
    ]

    @Test(
        "each case comes out the same whole and byte by byte",
        arguments: framing + pings + reserved + opcodes + fragments + closes + lengths
    )
    func cases(row: Row) {
        #expect(Self.brief(WebSocketParser.events(of: row.bytes)) == row.events)
        for size in [1, 2, 3, 7, 1021] {
            #expect(Self.brief(WebSocketParser.events(of: row.bytes, in: size)) == row.events)
        }
    }

    static let goodText: [[UInt8]] = [
        Array("Hello-µ@ßöäüàá-UTF-8!!".utf8), Array("κόσμε".utf8), [0xf0, 0x90, 0x80, 0x80],
        [0x7f], [0xc2, 0x80], [0xdf, 0xbf], [0xe0, 0xa0, 0x80], [0xed, 0x9f, 0xbf],
        [0xee, 0x80, 0x80], [0xef, 0xbf, 0xbf], [0xf4, 0x8f, 0xbf, 0xbf], [0], [0xef, 0xbb, 0xbf],
    ]
    static let badText: [[UInt8]] = [
        [0xce, 0xba, 0xe1, 0xbd, 0xb9, 0xcf, 0x83, 0xed, 0xa0, 0x80, 0x65], [0x80], [0xbf],
        [0xc0, 0xaf], [0xc1, 0xbf], [0xe0, 0x9f, 0xbf], [0xed, 0xa0, 0x80], [0xed, 0xbf, 0xbf],
        [0xf0, 0x8f, 0xbf, 0xbf], [0xf4, 0x90, 0x80, 0x80], [0xf5, 0x80, 0x80, 0x80],
        [0xf8, 0x88, 0x80, 0x80, 0x80], [0xfe], [0xff], [0xc2], [0xe0, 0xa0], [0xf0, 0x90, 0x80],
        [0xc2, 0x41], [0xe2, 0x82, 0x41],
    ]

    @Test("6: text that is UTF-8 passes, cut into frames at every byte", arguments: goodText)
    func utf8(text: [UInt8]) {
        for cut in 0...text.count {
            let bytes =
                ClientFrame.encode(1, Array(text[..<cut]), isFinal: false)
                + ClientFrame.encode(0, Array(text[cut...]))
            #expect(WebSocketParser.events(of: bytes) == [Self.text(text)])
            #expect(WebSocketParser.events(of: bytes, in: 1) == [Self.text(text)])
        }
    }

    @Test("6: text that is not fails with 1007, cut into frames at every byte", arguments: badText)
    func notUTF8(text: [UInt8]) {
        for cut in 0...text.count {
            let bytes =
                ClientFrame.encode(1, Array(text[..<cut]), isFinal: false)
                + ClientFrame.encode(0, Array(text[cut...]))
            #expect(Self.brief(WebSocketParser.events(of: bytes)) == [Self.invalid])
            #expect(Self.brief(WebSocketParser.events(of: bytes, in: 1)) == [Self.invalid])
        }
        // The same bytes are no fault in a binary message.
        #expect(
            WebSocketParser.events(of: ClientFrame.encode(2, text)) == [.message(.binary(text))]
        )
    }

    @Test("6.4: the first byte that cannot be ends it, before the frame is whole")
    func failsFast() {
        let bytes = Array(ClientFrame.encode(1, [0xf4, 0x90, 0x80, 0x80, 65, 65, 65]).prefix(8))
        #expect(Self.brief(WebSocketParser.events(of: bytes)) == [Self.invalid])
    }
}
