import TimeZones
import FoundationEssentials
import Testing

@Suite("TimeZone by IANA name")
struct TimeZoneTests {
    @Test("a zone has its summer time")
    func summerTime() throws {
        let berlin = try #require(TimeZone.iana("Europe/Berlin"))
        #expect(berlin.secondsFromGMT(for: Date(timeIntervalSince1970: 1_750_000_000)) == 7200)
        #expect(berlin.secondsFromGMT(for: Date(timeIntervalSince1970: 1_765_000_000)) == 3600)
    }

    @Test("what is no zone is none", arguments: ["", "Mars/Olympus", "Europe/", "../etc/passwd"])
    func unknown(name: String) {
        #expect(TimeZone.iana(name) == nil)
    }
}
