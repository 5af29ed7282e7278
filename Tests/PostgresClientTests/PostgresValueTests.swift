import FoundationEssentials
import Testing

@testable import PostgresClient

@Suite("ParameterBuffer")
struct ParameterBufferTests {
    static let id = UUID(uuidString: "0193A0B1-C2D3-74E5-86F7-08192A3B4C5D") ?? UUID()

    struct Row: Sendable, CustomTestStringConvertible {
        let value: PostgresValue
        let text: String
        var testDescription: String { text }
    }

    static let rows: [Row] = [
        Row(value: "", text: ""),
        Row(value: "héllo", text: "héllo"),
        Row(value: .utf8(Array("a'b".utf8)), text: "a'b"),
        Row(value: -7, text: "-7"),
        Row(value: .int(Int64.min), text: "-9223372036854775808"),
        Row(value: true, text: "t"),
        Row(value: false, text: "f"),
        Row(value: 0.1, text: "0.1"),
        Row(value: .double(.nan), text: "nan"),
        Row(value: .double(-.infinity), text: "-inf"),
        Row(value: .uuid(id), text: "0193a0b1-c2d3-74e5-86f7-08192a3b4c5d"),
        Row(value: .bytes([0, 1, 0xAB, 0xFF]), text: #"\x0001abff"#),
        Row(value: .bytes([]), text: #"\x"#),
        Row(value: .json(#"{"a":1}"#), text: #"{"a":1}"#),
        Row(value: .time(milliseconds: 0), text: "1970-01-01 00:00:00.000+00"),
        Row(value: .time(milliseconds: -1), text: "1969-12-31 23:59:59.999+00"),
        Row(value: .strings([]), text: "{}"),
        Row(
            value: .strings(["a", "", "NULL", #"q"b\"#, "{x,y}"]),
            text: #"{"a","","NULL","q\"b\\","{x,y}"}"#
        ),
        Row(value: .ints([1, -2]), text: "{1,-2}"),
        Row(value: .uuids([id]), text: "{0193a0b1-c2d3-74e5-86f7-08192a3b4c5d}"),
        Row(
            value: .array(["a", nil, 1, true, .bytes([255]), .json(#"{"k":"v"}"#)]),
            text: #"{"a",NULL,1,t,"\\xff","{\"k\":\"v\"}"}"#
        ),
    ]

    @Test("writes each kind as the server reads it", arguments: rows)
    func texts(_ row: Row) throws {
        var buffer = ParameterBuffer()
        try buffer.encode([row.value])
        #expect(buffer.offsets == [0])
        #expect(buffer.bytes == Array(row.text.utf8) + [0])
    }

    @Test("several parameters lie one after the other, nulls nowhere")
    func layout() throws {
        var buffer = ParameterBuffer()
        try buffer.encode(["left over from before", nil])
        try buffer.encode(["ab", nil, 7])
        #expect(buffer.offsets == [0, -1, 3])
        #expect(buffer.bytes == Array("ab".utf8) + [0] + Array("7".utf8) + [0])
    }

    @Test(
        "refuses what would arrive as something else",
        arguments: [
            "a\0b", .utf8([0]), .json("\0"), .strings(["a", "\0"]),
            .array([.array([])]), .time(milliseconds: .max), .time(milliseconds: .min),
        ] as [PostgresValue]
    )
    func refused(_ value: PostgresValue) {
        var buffer = ParameterBuffer()
        #expect { try buffer.encode([1, value]) } throws: {
            guard let error = $0 as? PostgresError else { return false }
            return error.code == .encoding && error.message.hasPrefix("parameter $2 ")
        }
    }

    @Test("refuses more than its size and count limits")
    func limits() {
        var buffer = ParameterBuffer()
        let big = PostgresValue.utf8([UInt8](repeating: 65, count: ParameterBuffer.sizeMax))
        #expect(throws: PostgresError.self) { try buffer.encode([big]) }
        let many = [PostgresValue](repeating: .null, count: ParameterBuffer.countMax + 1)
        #expect(throws: PostgresError.self) { try buffer.encode(many) }
        #expect(throws: Never.self) { try buffer.encode([1]) }
        #expect(buffer.bytes.capacity <= ParameterBuffer.keptSize)
    }

    @Test("optionals become values or nulls")
    func optionals() {
        #expect(PostgresValue(String?.none) == .null)
        #expect(PostgresValue("a" as String?) == "a")
        #expect(PostgresValue(3 as Int?) == 3)
        #expect(PostgresValue(true as Bool?) == true)
        #expect(PostgresValue(ParameterBufferTests.id as UUID?) == .uuid(ParameterBufferTests.id))
        #expect(PostgresValue.int(3 as Int) == .int(Int64(3)))
    }
}

@Suite("PostgresText")
struct PostgresTextTests {
    @Test(
        "whole numbers",
        arguments: [
            ("0", 0), ("-0", 0), ("42", 42), ("-9223372036854775808", .min),
            ("9223372036854775807", .max), ("9223372036854775808", nil), ("", nil), ("-", nil),
            ("1.0", nil), ("+1", nil), ("99999999999999999999", nil),
        ] as [(String, Int64?)]
    )
    func integers(_ text: String, _ expected: Int64?) {
        #expect(PostgresText.integer(Array(text.utf8)[...]) == expected)
    }

    @Test(
        "arrays",
        arguments: [
            ("{}", []), ("{a,b}", ["a", "b"]),
            (#"{"a b","c,d","e\"f\\"}"#, ["a b", "c,d", #"e"f\"#]),
            ("{NULL,\"NULL\"}", [nil, "NULL"]), ("{\"\"}", [""]),
            ("{a,}", nil), ("{a", nil), ("a}", nil), ("{{a}}", nil), ("{\"a}", nil), ("", nil),
            ("[0:1]={a,b}", nil), ("{\"a\"b}", nil),
        ] as [(String, [String?]?)]
    )
    func arrays(_ text: String, _ expected: [String?]?) {
        let parsed = PostgresText.array(Array(text.utf8)[...])
        #expect(parsed?.map { $0.map { String(decoding: $0, as: UTF8.self) } } == expected)
    }

    @Test("UUIDs and byte strings, and what only looks like them")
    func hex() {
        let text = "0193a0b1-c2d3-74e5-86f7-08192a3b4c5d"
        #expect(PostgresText.uuid(Array(text.utf8)[...]) == UUID(uuidString: text))
        for bad in [
            "", String(text.dropLast()), text + "0", text.replacing("-", with: "x"),
            text.replacing("c", with: "g"),
        ] {
            #expect(PostgresText.uuid(Array(bad.utf8)[...]) == nil, "\(bad)")
        }
        #expect(PostgresText.bytea(Array(#"\x00ff"#.utf8)[...]) == [0, 255])
        #expect(PostgresText.bytea(Array(#"\x"#.utf8)[...]) == [])
        for bad in ["", "x0", #"\x0"#, #"\xgg"#, "00ff"] {
            #expect(PostgresText.bytea(Array(bad.utf8)[...]) == nil, "\(bad)")
        }
    }
}

@Suite("PostgresTime")
struct PostgresTimeTests {
    @Test(
        "reads what a UTC session writes",
        arguments: [
            ("1970-01-01 00:00:00+00", 0), ("1970-01-01 00:00:00.001+00", 1),
            ("1969-12-31 23:59:59.9+00", -100),
            ("2024-02-29 12:34:56.789012+00", 1_709_210_096_789),
            ("1969-12-31 23:59:59.9999+00", -1), ("2000-01-01 01:30:00+05:30", 946_670_400_000),
            ("1900-01-01 00:00:00-00:01:15", -2_208_988_725_000),
            ("10000-01-01 00:00:00+00", 253_402_300_800_000),
            ("infinity", nil), ("-infinity", nil), ("0044-03-15 00:00:00+00 BC", nil),
            ("2024-02-29 12:34:56", nil), ("2024-13-01 00:00:00+00", nil), ("", nil),
            ("2024-02-29T00:00:00+00", nil), ("2024-02-29 24:00:00+00", nil),
        ] as [(String, Int64?)]
    )
    func parsing(_ text: String, _ expected: Int64?) {
        #expect(PostgresTime.milliseconds(Array(text.utf8)) == expected)
    }

    @Test("writes and reads back days of ten centuries, and every day around a leap day")
    func roundTrip() {
        for day in Array(stride(from: Int64(-200_000), to: 200_000, by: 97))
            + Array(10_950...12_500)
        {
            let milliseconds = day * 86_400_000 + (day % 2 == 0 ? 0 : 86_399_999)
            let text = PostgresTime.text(milliseconds: milliseconds)
            #expect(text.flatMap { PostgresTime.milliseconds($0.utf8) } == milliseconds)
        }
    }

    @Test("agrees with Foundation on the calendar, from its Gregorian reform on")
    func calendar() {
        let style = Date.ISO8601FormatStyle(dateTimeSeparator: .space, timeZone: .gmt)
        let disagreeing = stride(from: Int64(-12_000_000_000), to: 250_000_000_000, by: 77_777_777)
            .filter { seconds in
                let date = Date(timeIntervalSince1970: Double(seconds))
                let text = PostgresTime.text(milliseconds: seconds * 1000)
                return text?.hasPrefix(date.formatted(style).dropLast()) != true
            }
        #expect(disagreeing == [])
    }
}
