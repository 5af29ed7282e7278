import FoundationEssentials
import JSON
import Testing

@testable import JobQueue

@Suite("Cron")
struct CronTests {
    /// The next times after `start`, as UTC text without the seconds' fraction.
    private func times(
        _ pattern: String,
        _ zone: String?,
        after start: String,
        _ count: Int
    ) throws -> [String] {
        let clock = try CronClock(try CronPattern(pattern), zone: zone)
        var now = try #require(RFC3339.parse(start))
        return try (0..<count).map { _ in
            now = try #require(clock.next(after: now))
            return String(RFC3339.string(now).prefix(16))
        }
    }

    @Test("a time that the clock change leaves out comes at the change, once")
    func springForward() throws {
        // New York, 8 March 2026: 02:00 becomes 03:00 at 07:00 UTC.
        let daily = try times("30 2 * * *", "America/New_York", after: "2026-03-07T00:00:00Z", 3)
        #expect(daily == ["2026-03-07T07:30", "2026-03-08T07:00", "2026-03-09T06:30"])
    }

    @Test("a time that the clock change repeats comes once, unless every hour is meant")
    func fallBack() throws {
        // New York, 1 November 2026: 02:00 becomes 01:00 at 06:00 UTC.
        let daily = try times("30 1 * * *", "America/New_York", after: "2026-10-31T12:00:00Z", 3)
        #expect(daily == ["2026-11-01T05:30", "2026-11-02T06:30", "2026-11-03T06:30"])
        let hourly = try times("30 * * * *", "America/New_York", after: "2026-11-01T04:45:00Z", 4)
        #expect(
            hourly == [
                "2026-11-01T05:30", "2026-11-01T06:30", "2026-11-01T07:30", "2026-11-01T08:30",
            ]
        )
    }

    @Test("between the two occurrences of a repeated hour, the second one is next")
    func amidChange() throws {
        let next = try times("15 * * * *", "America/New_York", after: "2026-11-01T05:20:00Z", 1)
        #expect(next == ["2026-11-01T06:15"])
    }

    @Test("zones with odd offsets and half-hour changes")
    func oddZones() throws {
        let kathmandu = try times("0 9 * * *", "Asia/Kathmandu", after: "2026-01-01T00:00:00Z", 1)
        #expect(kathmandu == ["2026-01-01T03:15"])
        // Lord Howe, 4 October 2026: 02:00 becomes 02:30 at 15:30 UTC of the day before.
        let lordHowe = try times(
            "15 2 * * *",
            "Australia/Lord_Howe",
            after: "2026-10-03T00:00:00Z",
            2
        )
        #expect(lordHowe == ["2026-10-03T15:30", "2026-10-04T15:15"])
    }

    @Test(
        "fields",
        arguments: [
            ("0 0 29 2 *", "2028-02-29T00:00"), ("0 12 L * *", "2026-01-31T12:00"),
            ("0 0 13 * 5", "2026-01-02T00:00"), ("0 0 * * SUN", "2026-01-04T00:00"),
            ("0 0 * * 7", "2026-01-04T00:00"), ("@hourly", "2026-01-01T01:00"),
            ("*/20 * * * *", "2026-01-01T00:20"), ("5/20 * * * *", "2026-01-01T00:05"),
            ("0 22-23,1 * * *", "2026-01-01T01:00"), ("30 15 10 ? JAN-MAR *", "2026-01-01T10:15"),
        ]
    )
    func fields(pattern: String, next: String) throws {
        #expect(try times(pattern, nil, after: "2026-01-01T00:00:00Z", 1) == [next])
    }

    @Test(
        "what is no pattern is refused with its reason",
        arguments: [
            "", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "a * * * *",
            "*/0 * * * *", "5-1 * * * *", "1,, * * * *", "1/2/3 * * * *", "1-2-3 * * * *",
        ]
    )
    func refused(pattern: String) {
        #expect(throws: CronPattern.Fault.self) { try CronPattern(pattern) }
    }

    @Test("a day that never comes has no time; an unknown zone is refused")
    func never() throws {
        #expect(try CronClock(try CronPattern("0 0 30 2 *"), zone: nil).next(after: 0) == nil)
        let pattern = try CronPattern("0 0 * * *")
        #expect(throws: CronPattern.Fault.self) { try CronClock(pattern, zone: "Mars/Olympus") }
    }

    @Test("civil days agree with known dates")
    func days() {
        let leap = CivilDay(number: 11_016)
        #expect(leap.year == 2000 && leap.month == 2 && leap.day == 29 && leap.weekday == 2)
        let old = CivilDay(number: -1)
        #expect(old.year == 1969 && old.month == 12 && old.day == 31 && old.isLastOfMonth)
    }
}
