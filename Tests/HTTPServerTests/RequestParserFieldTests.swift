import Testing

@testable import HTTPServer

@Suite("RequestParser: fields")
struct RequestParserFieldTests {
    private static func get(_ fields: String) -> String {
        "GET / HTTP/1.1\r\nHost: a\r\n\(fields)\r\n\r\n"
    }

    @Test(
        "a field line is taken as it is or not at all",
        arguments: [
            .taken("no space after the colon", get("X:y")),
            .taken("blanks around the value", get("X: \t y \t ")),
            .taken("an empty value", get("X:")),
            .taken("a blank value", get("X: \t")),
            .taken("all token bytes in the name", get("!#$%&'*+-.^_`|~09azAZ: y")),
            .taken("tabs and bytes over 127 in the value", get("X: a\tb\u{80}\u{e9}\u{ff}")),
            .taken("colons in the value", get("X: a:b::c")),
            .taken("a name that comes twice", get("X: 1\r\nx: 2")),
            .taken(
                "a name of one framing field's length",
                get("Cost: x\r\nExpert: y\r\nContent-Weight: x")
            ),
            .refused("a space before the colon", .fieldName, get("X : y")),
            .refused("a tab before the colon", .fieldName, get("X\t: y")),
            .refused("a byte over 127 before the colon", .fieldName, get("X\u{85}: y")),
            .refused("no colon", .fieldName, get("X")),
            .refused("a space for a colon", .fieldName, get("Content-Length 10")),
            .refused("an empty name", .fieldName, get(": y")),
            .refused("an empty name and value", .fieldName, get(":")),
            .refused("brackets in the name", .fieldName, get("X[]: y")),
            .refused("NUL in the name", .fieldName, get("X\0: y")),
            .refused(
                "a name that goes on in the next line",
                .fieldName,
                get("Transfer-\r\nEncoding: x")
            ),
            .refused("NUL in the value", .fieldValue, get("X: a\0b")),
            .refused("BEL in the value", .fieldValue, get("X: a\u{7}")),
            .refused("DEL in the value", .fieldValue, get("X: a\u{7f}")),
            .refused("a vertical tab before the value", .fieldValue, get("X:\u{b}a")),
            .refused("CR in the value", .lineEnding, get("X: a\rb")),
            .refused("CR at the end of the value", .lineEnding, get("X: a\r")),
            .refused("LF in the value", .lineEnding, get("X: a\nY: b")),
            .refused("LF before the value", .lineEnding, get("X:\n\nGET / HTTP/1.1")),
            .refused("a folded line", .lineFolding, get("X: a\r\n b")),
            .refused("a line folded with a tab", .lineFolding, get("X: a\r\n\tb")),
            .refused("a blank line of spaces", .lineFolding, get("X: a\r\n ")),
            .refused(
                "a space before the first field",
                .lineFolding,
                "GET / HTTP/1.1\r\n Host: a\r\n\r\n"
            ),
            .refused(
                "a tab before the first field",
                .lineFolding,
                "GET / HTTP/1.1\r\n\tHost: a\r\n\r\n"
            ),
            .refused("CR before a name", .lineEnding, get("X: a\r\n\rY: b")),
            .refused("LF for the empty line", .lineEnding, "GET / HTTP/1.1\r\nHost: a\r\n\n"),
            .refused("LF everywhere", .lineEnding, "GET / HTTP/1.1\nHost: a\n\n"),
        ] as [ParserCase]
    )
    func fieldLine(row: ParserCase) {
        row.check()
    }

    @Test("names keep their spelling, values lose the blanks around them")
    func contents() throws {
        let text = Self.get("X-One: \t a b \t\r\nX-oNE:\r\nx-two:\t\u{85}c\u{a0} ")
        let fields = try #require(outcomeOfAllCuts(latin1(text)).requests.first?.fields)
        #expect(fields.map(\.name) == ["Host", "X-One", "X-oNE", "x-two"])
        #expect(fields.map(\.value) == ["a", "a b", "", "\u{fffd}c\u{fffd}"])
        #expect(fields.values(of: "x-one") == ["a b", ""])
        #expect(fields.valueBytes(of: "X-TWO").map(Array.init) == [0x85, 0x63, 0xa0])
    }

    private static func host(_ value: String) -> String {
        "GET / HTTP/1.1\r\nHost: \(value)\r\n\r\n"
    }

    @Test(
        "exactly one valid Host names the host",
        arguments: [
            .taken("a name", host("b-c.example")),
            .taken("a name with a port", host("b:8080")),
            .taken("the highest port", host("b:65535")),
            .taken("an empty port", host("b:")),
            .taken("an address", host("127.0.0.1:80")),
            .taken("an IPv6 address", host("[2001:db8::7]:80")),
            .taken("an IPv6 address of eight groups", host("[1:2:3:4:5:6:7:8]")),
            .taken("an IPv6 address with an IPv4 tail", host("[::ffff:192.0.2.1]")),
            .taken("the unspecified address", host("[::]")),
            .taken("escapes and marks", host("a_b~%41!$&'()*+;=")),
            .refused("none", .host, "GET / HTTP/1.1\r\nX: y\r\n\r\n"),
            .refused("no fields at all", .host, "GET / HTTP/1.1\r\n\r\n"),
            .refused("none beside an absolute target", .host, "GET http://a/ HTTP/1.1\r\n\r\n"),
            .refused("two", .host, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
            .refused("the same twice", .host, "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"),
            .refused("two in HTTP/1.0", .host, "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"),
            .refused("an invalid one in HTTP/1.0", .host, "GET / HTTP/1.0\r\nHost: a/b\r\n\r\n"),
            .refused(
                "an invalid one before a valid one",
                .host,
                "GET / HTTP/1.0\r\nHost: @\r\nHost: a\r\n\r\n"
            ),
            .refused("an empty one", .host, host("")),
            .refused("only a port", .host, host(":80")),
            .refused("user information", .host, host("user@b")),
            .refused("a path", .host, host("b/c")),
            .refused("a space", .host, host("b c")),
            .refused("a list", .host, host("b,c")),
            .refused("a list with a space", .host, host("b, c")),
            .refused("a port that is no number", .host, host("b:8o")),
            .refused("a port too high", .host, host("b:65536")),
            .refused("a port too long", .host, host("b:000080")),
            .refused("two ports", .host, host("b:1:2")),
            .refused("a broken escape", .host, host("b%4")),
            .refused("an escape that is no number", .host, host("b%4g")),
            .refused("bytes over 127", .host, host("b\u{ff}")),
            .refused("a question mark", .host, host("b?c")),
            .refused("an open bracket", .host, host("[::1")),
            .refused("a name in brackets", .host, host("[b]")),
            .refused("empty brackets", .host, host("[]")),
            .refused("nine groups", .host, host("[1:2:3:4:5:6:7:8:9]")),
            .refused("seven groups", .host, host("[1:2:3:4:5:6:7]")),
            .refused("a group too long", .host, host("[12345::]")),
            .refused("shortened twice", .host, host("[1::2::3]")),
            .refused("shortened to nothing", .host, host("[1:2:3:4::5:6:7:8]")),
            .refused("a colon at the end", .host, host("[1:2:3:4:5:6:7:]")),
            .refused("a colon at the start", .host, host("[:1:2:3:4:5:6:7]")),
            .refused("three colons", .host, host("[:::]")),
            .refused("an IPv4 tail too high", .host, host("[::192.0.2.256]")),
            .refused("an IPv4 tail too short", .host, host("[::192.0.2]")),
            .refused("an IPv4 tail too long", .host, host("[::192.0.2.1.1]")),
            .refused("an IPv4 tail that ends with a dot", .host, host("[::192.0.2.]")),
            .refused("something behind the bracket", .host, host("[::1]b")),
            .refused("a zone", .host, host("[fe80::1%25eth0]")),
        ] as [ParserCase]
    )
    func hostField(row: ParserCase) {
        row.check()
    }

    @Test("Connection and the version decide whether the connection stays")
    func keepAlive() throws {
        let rows: [(fields: String, stays: Bool, staysInHTTP10: Bool)] = [
            ("X: y", true, false),
            ("Connection: close", false, false),
            ("connection: CLOSE", false, false),
            ("Connection: keep-alive", true, true),
            ("Connection: Keep-Alive, close", false, false),
            ("Connection: x ,\t, keep-alive\t", true, true),
            ("Connection: keep-alive\r\nConnection: upgrade, close", false, false),
            ("Connection: closed", true, false),
            ("Connection:", true, false),
            ("Connections: close", true, false),
        ]
        for row in rows {
            let text = Self.get(row.fields)
            let modern = outcomeOfAllCuts(latin1(text)).requests.first
            #expect(modern?.keepsAlive == row.stays, "\(row.fields)")
            let bytes = latin1("GET / HTTP/1.0" + text.dropFirst(14))
            let old = outcomeOfAllCuts(bytes).requests.first
            #expect(old?.keepsAlive == row.staysInHTTP10, "HTTP/1.0, \(row.fields)")
        }
    }
}
