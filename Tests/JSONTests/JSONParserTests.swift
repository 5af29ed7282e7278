import JSON
import Testing

/// A document and what reading it gives.
struct Accepted: Sendable, CustomTestStringConvertible {
    let text: String
    let value: JSON
    var testDescription: String { String(text.prefix(60)) }

    init(_ text: String, _ value: JSON) {
        self.text = text
        self.value = value
    }
}

/// A document and why it is refused.
struct Refused: Sendable, CustomTestStringConvertible {
    let bytes: [UInt8]
    let code: JSONError.Code
    let offset: Int
    let pointer: String
    var testDescription: String {
        "\(code): " + String(decoding: bytes.prefix(60), as: UTF8.self)
    }

    init(_ text: String, _ code: JSONError.Code, at offset: Int, _ pointer: String = "") {
        self.init(Array(text.utf8), code, at: offset, pointer)
    }

    init(_ bytes: [UInt8], _ code: JSONError.Code, at offset: Int, _ pointer: String = "") {
        self.bytes = bytes
        self.code = code
        self.offset = offset
        self.pointer = pointer
    }
}

@Suite("JSONParserTests")
struct JSONParserTests {
    static let accepted: [Accepted] = [
        Accepted("null", .null),
        Accepted("true", true),
        Accepted(" \t\r\n false \t\r\n ", false),
        Accepted("[]", []),
        Accepted("[ ]", []),
        Accepted("{}", [:]),
        Accepted("{ }", [:]),
        Accepted("[1,[2,[]],{}]", [1, [2, []], [:]]),
        Accepted(#"{"a":{"b":[null]},"":1}"#, ["a": ["b": [nil]], "": 1]),
        Accepted(#" { "a" : 1 , "b" : [ 1 , 2 ] } "#, ["a": 1, "b": [1, 2]]),
        // Numbers.
        Accepted("0", 0),
        Accepted("-0", 0),
        Accepted("7", 7),
        Accepted("-12", -12),
        Accepted("9223372036854775807", .int(.max)),
        Accepted("-9223372036854775808", .int(.min)),
        Accepted("9007199254740993", .int(9_007_199_254_740_993)),
        Accepted("1.0", 1.0),
        Accepted("-0.0", .double(-0.0)),
        Accepted("0.1", 0.1),
        Accepted("1e2", 100.0),
        Accepted("1E+2", 100.0),
        Accepted("1e-2", 0.01),
        Accepted("0e999", 0.0),
        Accepted("123456789012345678901234567890.0", 123456789012345678901234567890.0),
        Accepted("0.000000000000000000000000000000000001", 1e-36),
        Accepted("1.7976931348623157e308", .double(.greatestFiniteMagnitude)),
        Accepted("5e-324", .double(.leastNonzeroMagnitude)),
        Accepted("2.2250738585072011e-308", .double(Double.leastNormalMagnitude.nextDown)),
        Accepted("9007199254740993.0", .double(9007199254740992)),
        Accepted("1e0000000000000000000000000002", 100.0),
        Accepted("0." + String(repeating: "3", count: 126), .double(1.0 / 3)),
        // Strings.
        Accepted(#""""#, ""),
        Accepted(#""plain""#, "plain"),
        Accepted(#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{C}\n\r\t"),
        Accepted(#""a\u0041\u00e9\u20AC!""#, "aA\u{E9}\u{20AC}!"),
        Accepted(#""\uD83D\uDE00""#, "\u{1F600}"),
        Accepted(#""\uD800\uDC00\uDBFF\uDFFF""#, "\u{10000}\u{10FFFF}"),
        Accepted(#""\u0000""#, "\u{0}"),
        Accepted(
            "\"\u{7F}\u{80}\u{7FF}\u{800}\u{FFFF}\u{10FFFF}\"",
            "\u{7F}\u{80}\u{7FF}\u{800}\u{FFFF}\u{10FFFF}"
        ),
        Accepted("\"\u{FEFF}\"", "\u{FEFF}"),
        Accepted("\"é\\né\"", "é\né"),
        Accepted(#""\uFFFE\uFFFF""#, "\u{FFFE}\u{FFFF}"),
        Accepted(
            String(repeating: "[", count: 64) + String(repeating: "]", count: 64),
            nested(64)
        ),
    ]

    static let refused: [Refused] = [
        Refused("", .unexpectedEnd, at: 0),
        Refused("   ", .unexpectedEnd, at: 3),
        Refused("\u{FEFF}{}", .byteOrderMark, at: 0),
        Refused([0xFF, 0xFE, 0x7B, 0, 0x7D, 0], .unexpectedByte, at: 0),
        Refused([0x7B, 0, 0x7D, 0], .unexpectedByte, at: 1),
        Refused("{}x", .trailingBytes, at: 2),
        Refused("1 2", .trailingBytes, at: 2),
        Refused("null\u{0}", .trailingBytes, at: 4),
        Refused("[]]", .trailingBytes, at: 2),
        Refused("tru", .unexpectedEnd, at: 3),
        Refused("trux", .unexpectedByte, at: 3),
        Refused("TRUE", .unexpectedByte, at: 0),
        Refused("nul1", .unexpectedByte, at: 3),
        Refused("NaN", .unexpectedByte, at: 0),
        Refused("Infinity", .unexpectedByte, at: 0),
        Refused("'a'", .unexpectedByte, at: 0),
        Refused("\u{A0}1", .unexpectedByte, at: 0),
        Refused("\u{C}1", .unexpectedByte, at: 0),
        Refused("/* c */ 1", .unexpectedByte, at: 0),
        // Containers.
        Refused("[", .unexpectedEnd, at: 1),
        Refused("[1", .unexpectedEnd, at: 2),
        Refused("[1,", .unexpectedEnd, at: 3, "/1"),
        Refused("[1,]", .unexpectedByte, at: 3, "/1"),
        Refused("[,1]", .unexpectedByte, at: 1, "/0"),
        Refused("[1 2]", .unexpectedByte, at: 3),
        Refused("[1}", .unexpectedByte, at: 2),
        Refused("[1,,2]", .unexpectedByte, at: 3, "/1"),
        Refused("{", .unexpectedEnd, at: 1),
        Refused("{]", .unexpectedByte, at: 1),
        Refused("{a:1}", .unexpectedByte, at: 1),
        Refused("{1:1}", .unexpectedByte, at: 1),
        Refused(#"{"a""#, .unexpectedEnd, at: 4, "/a"),
        Refused(#"{"a" 1}"#, .unexpectedByte, at: 5, "/a"),
        Refused(#"{"a":}"#, .unexpectedByte, at: 5, "/a"),
        Refused(#"{"a":1"#, .unexpectedEnd, at: 6),
        Refused(#"{"a":1,}"#, .unexpectedByte, at: 7),
        Refused(#"{,"a":1}"#, .unexpectedByte, at: 1),
        Refused(#"{"a":1 "b":2}"#, .unexpectedByte, at: 7),
        Refused(#"{"a":1,"a":1}"#, .duplicateKey, at: 7, "/a"),
        Refused(#"{"a":1,"\u0061":1}"#, .duplicateKey, at: 7, "/a"),
        Refused(#"{"x":[0,{"b/~":{"k":1,"k":2}}]}"#, .duplicateKey, at: 22, "/x/1/b~1~0/k"),
        Refused(#"{"a":[1,{"b":tru}]}"#, .unexpectedByte, at: 16, "/a/1/b"),
        Refused(
            String(repeating: "[", count: 65),
            .depthExceeded,
            at: 64,
            String(repeating: "/0", count: 64)
        ),
        Refused(
            String(repeating: "[", count: 100_000),
            .depthExceeded,
            at: 64,
            String(repeating: "/0", count: 64)
        ),
        // Numbers.
        Refused("-", .unexpectedEnd, at: 1),
        Refused("+1", .unexpectedByte, at: 0),
        Refused(".5", .unexpectedByte, at: 0),
        Refused("01", .invalidNumber, at: 2),
        Refused("-01", .invalidNumber, at: 3),
        Refused("00.5", .invalidNumber, at: 2),
        Refused("1.", .invalidNumber, at: 2),
        Refused("1.e1", .invalidNumber, at: 2),
        Refused("-.5", .invalidNumber, at: 1),
        Refused("-x", .invalidNumber, at: 1),
        Refused("1e", .unexpectedEnd, at: 2),
        Refused("1e+", .invalidNumber, at: 3),
        Refused("1ex", .invalidNumber, at: 2),
        Refused("1e1.5", .trailingBytes, at: 3),
        Refused("0x10", .trailingBytes, at: 1),
        Refused("1_000", .trailingBytes, at: 1),
        Refused("9223372036854775808", .numberOutOfRange, at: 0),
        Refused("-9223372036854775809", .numberOutOfRange, at: 0),
        Refused("[1,18446744073709551616]", .numberOutOfRange, at: 3, "/1"),
        Refused("1e309", .numberOutOfRange, at: 0),
        Refused("-1e309", .numberOutOfRange, at: 0),
        Refused("1e99999999999999999999", .numberOutOfRange, at: 0),
        Refused("1e-400", .numberOutOfRange, at: 0),
        Refused("0." + String(repeating: "3", count: 127), .numberOutOfRange, at: 0),
        // Strings.
        Refused(#"""#, .unexpectedEnd, at: 1),
        Refused(#""abc"#, .unexpectedEnd, at: 4),
        Refused(#""abc\"#, .unexpectedEnd, at: 5),
        Refused("\"a\nb\"", .controlCharacter, at: 2),
        Refused("\"a\tb\"", .controlCharacter, at: 2),
        Refused("\"\u{0}\"", .controlCharacter, at: 1),
        Refused("\"\\n\u{1F}\"", .controlCharacter, at: 3),
        Refused(#""\x41""#, .invalidEscape, at: 1),
        Refused(#""\'""#, .invalidEscape, at: 1),
        Refused(#""\U0041""#, .invalidEscape, at: 1),
        Refused(#""\u12""#, .invalidEscape, at: 5),
        Refused(#""\u12g4""#, .invalidEscape, at: 5),
        Refused(#""\u+123""#, .invalidEscape, at: 3),
        Refused(#""\u123"#, .unexpectedEnd, at: 6),
        Refused(#""\uD800""#, .loneSurrogate, at: 1),
        Refused(#""x\uDC00""#, .loneSurrogate, at: 2),
        Refused(#""\uD800x""#, .loneSurrogate, at: 1),
        Refused(#""\uD800\n""#, .loneSurrogate, at: 1),
        Refused(#""\uD800\u0041""#, .loneSurrogate, at: 1),
        Refused(#""\uD800\uD800""#, .loneSurrogate, at: 1),
        Refused(#""\uDE00\uD83D""#, .loneSurrogate, at: 1),
        // UTF-8: bare continuation, truncated, overlong, surrogate, beyond Unicode, five bytes.
        Refused([0x22, 0x80, 0x22], .invalidUTF8, at: 1),
        Refused([0x22, 0x61, 0xC3, 0x22], .invalidUTF8, at: 2),
        Refused([0x22, 0xE2, 0x82, 0x22], .invalidUTF8, at: 1),
        Refused([0x22, 0xC0, 0x80, 0x22], .invalidUTF8, at: 1),
        Refused([0x22, 0xC1, 0xBF, 0x22], .invalidUTF8, at: 1),
        Refused([0x22, 0xE0, 0x80, 0xAF, 0x22], .invalidUTF8, at: 1),
        Refused([0x22, 0xF0, 0x82, 0x82, 0xAC, 0x22], .invalidUTF8, at: 1),
        Refused([0x22, 0xED, 0xA0, 0x80, 0x22], .invalidUTF8, at: 1),
        Refused([0x22, 0xED, 0xBF, 0xBF, 0x22], .invalidUTF8, at: 1),
        Refused([0x22, 0xF4, 0x90, 0x80, 0x80, 0x22], .invalidUTF8, at: 1),
        Refused([0x22, 0xF8, 0x88, 0x80, 0x80, 0x80, 0x22], .invalidUTF8, at: 1),
        Refused([0x22, 0xFF, 0x22], .invalidUTF8, at: 1),
        Refused([0x22, 0x5C, 0x6E, 0xFF, 0x22], .invalidUTF8, at: 3),
        Refused([0x22, 0xC3, 0x5C, 0x6E, 0xA9, 0x22], .invalidUTF8, at: 1),
        Refused([0x5B, 0x31, 0x2C, 0x22, 0xFF, 0x22, 0x5D], .invalidUTF8, at: 4, "/1"),
        Refused([0x7B, 0x22, 0xFF, 0x22, 0x3A, 0x31, 0x7D], .invalidUTF8, at: 2),
    ]

    @Test("valid documents are read exactly", arguments: accepted)
    func accepts(_ row: Accepted) throws {
        let value = try JSON(parsing: Array(row.text.utf8))
        #expect(value == row.value)
        #expect(value.doubleValue?.sign == row.value.doubleValue?.sign)
    }

    @Test("everything else is refused, with its place", arguments: refused)
    func refuses(_ row: Refused) {
        let error = #expect(throws: JSONError.self) { try JSON(parsing: row.bytes) }
        #expect(error?.code == row.code)
        #expect(error?.offset == row.offset)
        #expect(error?.pointer == row.pointer)
    }

    @Test("every proper prefix of a document is refused")
    func prefixes() {
        let document = Array(#"{"a":[1,-2.5e3,"x\n\uD83D\uDE00é",null,true,{}],"b":{"c":""}}"#.utf8)
        #expect(throws: Never.self) { try JSON(parsing: document) }
        for count in 0..<document.count {
            #expect(throws: JSONError.self) { try JSON(parsing: Array(document.prefix(count))) }
        }
    }

    @Test("borrowed bytes read the same")
    func span() throws {
        let bytes = Array(#"xx{"a":1}xx"#.utf8)
        #expect(try JSON(parsing: bytes.span.extracting(2..<9)) == ["a": 1])
    }

    @Test("a duplicate among very many members is found, in linear time")
    func manyMembers() {
        let members = (0..<20_000).map { "\"k\($0)\":0" }
        let unique = Array("{\(members.joined(separator: ","))}".utf8)
        #expect(throws: Never.self) { try JSON(parsing: unique) }
        let twice = Array("{\((members + ["\"k17\":1"]).joined(separator: ","))}".utf8)
        let error = #expect(throws: JSONError.self) { try JSON(parsing: twice) }
        #expect(error?.code == .duplicateKey)
        #expect(error?.pointer == "/k17")
    }

    @Test("answers of foreign servers may hold integers beyond Int64, rounded")
    func foreignIntegers() throws {
        let bytes = Array("[18446744073709551615,-9223372036854775809]".utf8)
        #expect(
            try JSON(parsing: bytes, limits: .foreign)
                == [.double(18446744073709551616), .double(-9223372036854775808)]
        )
        let huge = Array(String(repeating: "9", count: 129).utf8)
        let error = #expect(throws: JSONError.self) { try JSON(parsing: huge, limits: .foreign) }
        #expect(error?.code == .numberOutOfRange)
    }

    @Test("a long member name is cut in the pointer of an error")
    func longName() {
        let name = String(repeating: "n", count: 5000)
        let error = #expect(throws: JSONError.self) {
            try JSON(parsing: Array("{\"\(name)\":x}".utf8))
        }
        #expect(error?.pointer == "/" + name.prefix(128) + "…")
    }

    @Test("an error says what and where")
    func errorText() {
        let error = #expect(throws: JSONError.self) {
            try JSON(parsing: Array(#"{"a":[01]}"#.utf8))
        }
        #expect(error?.description == "malformed number at byte 8 in /a/0")
    }

    static func nested(_ depth: Int) -> JSON {
        (1..<depth).reduce([]) { inner, _ in [inner] }
    }
}
