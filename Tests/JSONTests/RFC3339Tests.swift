import Foundation
import JSON
import Testing

@Suite("RFC3339Tests")
struct RFC3339Tests {
    @Test(
        "times are written in UTC with milliseconds",
        arguments: [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (1, "1970-01-01T00:00:00.001Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (-2_208_988_800_000, "1900-01-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (-62_167_219_200_000, "0000-01-01T00:00:00.000Z"),
        ]
    )
    func both(_ time: Int64, _ text: String) {
        #expect(RFC3339.string(time) == text)
        #expect(RFC3339.parse(text) == time)
    }

    @Test("times that the format cannot express become the nearest one")
    func clamped() {
        #expect(RFC3339.string(.max) == "9999-12-31T23:59:59.999Z")
        #expect(RFC3339.string(.min) == "0000-01-01T00:00:00.000Z")
    }

    @Test(
        "other forms of a date-time",
        arguments: [
            ("1970-01-01T00:00:01Z", 1000),
            ("1970-01-01t00:00:01z", 1000),
            ("1970-01-01T00:00:00.5Z", 500),
            ("1970-01-01T00:00:00.12Z", 120),
            ("1970-01-01T00:00:00.123999999999Z", 123),
            ("1970-01-01T01:00:00+01:00", 0),
            ("1969-12-31T18:30:00-05:30", 0),
            ("1970-01-01T00:00:00-00:00", 0),
            ("1970-01-01T00:00:00+23:59", -86_340_000),
        ]
    )
    func forms(_ text: String, _ time: Int64) {
        #expect(RFC3339.parse(text) == time)
    }

    @Test(
        "anything else is refused",
        arguments: [
            "", "1970-01-01", "1970-01-01T00:00:00", "1970-01-01 00:00:00Z", "1970-01-01T00:00Z",
            "1970-1-01T00:00:00Z", "70-01-01T00:00:00Z", "1970-00-01T00:00:00Z",
            "1970-13-01T00:00:00Z", "1970-01-00T00:00:00Z", "1970-01-32T00:00:00Z",
            "1970-04-31T00:00:00Z", "1970-02-29T00:00:00Z", "1900-02-29T00:00:00Z",
            "1970-01-01T24:00:00Z", "1970-01-01T00:60:00Z", "1970-01-01T23:59:60Z",
            "1970-01-01T00:00:00.Z", "1970-01-01T00:00:00,5Z", "1970-01-01T00:00:00Zx",
            " 1970-01-01T00:00:00Z", "1970-01-01T00:00:00+0100", "1970-01-01T00:00:00+24:00",
            "1970-01-01T00:00:00+01:60", "1970-01-01T00:00:00+", "-970-01-01T00:00:00Z",
            "1970-01-01T00:00:00\u{660}Z", "+1970-01-01T00:00:00Z",
        ]
    )
    func refused(_ text: String) {
        #expect(RFC3339.parse(text) == nil)
    }

    @Test("every day from 1600 to 2400 agrees with Foundation's calendar")
    func calendar() throws {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = .gmt
        // A step that is no multiple of anything, to meet every month and day of the week.
        for time in stride(
            from: -11_676_096_000_000,
            through: 13_569_465_600_000,
            by: 860_000_123_457
        ) {
            let date = Date(timeIntervalSince1970: Double(time) / 1000)
            let parts = calendar.dateComponents([.year, .month, .day, .hour], from: date)
            let text = RFC3339.string(Int64(time))
            let expected = String(
                format: "%04d-%02d-%02dT%02d",
                parts.year ?? 0,
                parts.month ?? 0,
                parts.day ?? 0,
                parts.hour ?? 0
            )
            #expect(text.hasPrefix(expected))
            #expect(RFC3339.parse(text) == Int64(time))
        }
    }

    @Test("each day of 400 years is the successor of the day before")
    func successors() {
        var previous = RFC3339.string(-86_400_000)
        for day in 0..<146_097 {
            let text = RFC3339.string(Int64(day) * 86_400_000)
            #expect(text > previous && RFC3339.parse(text) == Int64(day) * 86_400_000)
            previous = text
        }
    }
}
