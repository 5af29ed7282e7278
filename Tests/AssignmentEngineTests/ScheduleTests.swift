import Foundation
import JSON
import Testing

@testable import assignment_engine

private let office = """
    {"tz": "Europe/Berlin",
     "windows": [{"day": "mon", "from": "09:00", "to": "17:30"},
                 {"day": "tue", "from": "09:00", "to": "17:30"},
                 {"day": "fri", "from": "22:00", "to": "02:00"},
                 {"day": "sun", "from": "01:00", "to": "04:00"}],
     "exceptions": [{"date": "2026-12-29", "windows": []},
                    {"date": "2026-12-28", "windows": [{"from": "09:00", "to": "12:00"}]}]}
    """

@Suite("Schedule")
struct ScheduleTests {
    @Test(
        "windows are had in the zone, begin included and end not",
        arguments: [
            ("2026-11-23T07:59:59Z", false), ("2026-11-23T08:00:00Z", true),
            ("2026-11-23T16:29:59Z", true), ("2026-11-23T16:30:00Z", false),
            // The same wall clock in summer.
            ("2026-07-06T06:59:59Z", false), ("2026-07-06T07:00:00Z", true),
            ("2026-07-06T15:30:00Z", false),
        ]
    )
    func windows(instant: String, isOpen: Bool) throws {
        #expect(try schedule(office).isOpen(at: at(instant)) == isOpen)
    }

    @Test("a window across midnight belongs to the day on which it begins")
    func midnight() throws {
        let hours = try schedule(office)
        #expect(hours.isOpen(at: at("2026-11-27T22:30:00Z")))
        #expect(hours.isOpen(at: at("2026-11-28T00:59:59Z")))
        #expect(!hours.isOpen(at: at("2026-11-28T01:00:00Z")))
    }

    @Test("a holiday is closed and half a day is half")
    func exceptions() throws {
        let hours = try schedule(office)
        #expect(hours.isOpen(at: at("2026-12-28T10:59:59Z")))
        #expect(!hours.isOpen(at: at("2026-12-28T11:00:00Z")))
        #expect(!hours.isOpen(at: at("2026-12-29T10:00:00Z")))
        // From the half day on: no Tuesday, Friday's late window is next.
        #expect(hours.opening(after: at("2026-12-28T11:00:00Z")) == at("2027-01-01T21:00:00Z"))
    }

    @Test(
        "the hour that summer time takes away is not open, and the window's end moves with the clock"
    )
    func springForward() throws {
        // 2026-03-29: 02:00 becomes 03:00. 01:00 to 04:00 lasts two hours.
        let hours = try schedule(office)
        #expect(!hours.isOpen(at: at("2026-03-28T23:59:59Z")))
        #expect(hours.isOpen(at: at("2026-03-29T00:00:00Z")))
        #expect(hours.isOpen(at: at("2026-03-29T01:59:59Z")))
        #expect(!hours.isOpen(at: at("2026-03-29T02:00:00Z")))
    }

    @Test("the hour that winter time gives twice is open twice")
    func fallBack() throws {
        // 2026-10-25: 03:00 becomes 02:00. 01:00 to 04:00 lasts four hours.
        let hours = try schedule(office)
        #expect(hours.isOpen(at: at("2026-10-24T23:00:00Z")))
        #expect(hours.isOpen(at: at("2026-10-25T02:59:59Z")))
        #expect(!hours.isOpen(at: at("2026-10-25T03:00:00Z")))
    }

    @Test("a time that the clock jumps over is the moment of the jump")
    func gap() throws {
        let hours = try schedule(
            #"{"tz": "Europe/Berlin", "windows": [{"day": "sun", "from": "02:30", "to": "05:00"}]}"#
        )
        #expect(hours.opening(after: at("2026-03-28T12:00:00Z")) == at("2026-03-29T01:00:00Z"))
    }

    @Test("the next opening is found over weekends, and none in a schedule without windows")
    func opening() throws {
        let hours = try schedule(office)
        #expect(hours.opening(after: at("2026-11-25T12:00:00Z")) == at("2026-11-27T21:00:00Z"))
        #expect(hours.opening(after: at("2026-11-23T08:30:00Z")) == at("2026-11-23T08:30:00Z"))
        let never = try schedule(#"{"tz": "UTC", "windows": []}"#)
        #expect(never.opening(after: at("2026-11-25T12:00:00Z")) == nil)
    }

    @Test("opening and being open agree at every quarter of an hour of a year, in odd zones")
    func agreement() throws {
        for zone in ["Australia/Lord_Howe", "America/St_Johns", "Asia/Kathmandu", "Europe/Berlin"] {
            let hours = try schedule(
                #"{"tz": "\#(zone)", "windows": [{"day": "sun", "from": "00:30", "to": "03:15"},"#
                    + #"{"day": "sat", "from": "23:00", "to": "01:00"}]}"#
            )
            var instant = at("2026-01-01T00:00:00Z")
            while instant < at("2027-01-01T00:00:00Z") {
                let next = try #require(hours.opening(after: instant))
                #expect(hours.isOpen(at: next))
                #expect(next == instant || !hours.isOpen(at: next - 1), "\(zone) \(instant)")
                instant = max(
                    instant + 900_000,
                    next == instant ? instant + 900_000 : next - 900_000
                )
            }
        }
    }

    @Test("a zone that nobody knows is no schedule; times are checked")
    func faults() throws {
        #expect(Schedule(["tz": "Mars/Olympus", "windows": []]) == nil)
        #expect(Schedule.minutes("24:00") == 1440)
        for text in ["24:01", "9:00", "09:60", "aa:bb", "0900", "+9:30", "-0:00", ""] {
            #expect(Schedule.minutes(text) == nil)
        }
        #expect(Schedule.date(0) == "1970-01-01")
        #expect(Schedule.date(20_512) == "2026-02-28")
        #expect(Schedule.date(20_513) == "2026-03-01")
    }
}
