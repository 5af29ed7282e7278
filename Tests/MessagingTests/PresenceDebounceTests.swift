import EventLoop
import Testing

@testable import messaging

@Suite("PresenceDebounce")
struct PresenceDebounceTests {
    private typealias Change = PresenceDebounce.Change

    private func at(_ seconds: Int64) -> MonotonicTime {
        MonotonicTime(nanoseconds: seconds * 1_000_000_000)
    }

    @Test("a change is told once it has held for the grace time, and once")
    func holds() {
        var debounce = PresenceDebounce(present: [])
        #expect(debounce.observe(["anna"], now: at(0), grace: .seconds(60)) == [])
        #expect(debounce.observe(["anna"], now: at(59), grace: .seconds(60)) == [])
        #expect(
            debounce.observe(["anna"], now: at(60), grace: .seconds(60))
                == [Change(user: "anna", isPresent: true)]
        )
        #expect(debounce.observe(["anna"], now: at(200), grace: .seconds(60)) == [])
        #expect(debounce.observe([], now: at(210), grace: .seconds(60)) == [])
        #expect(
            debounce.observe([], now: at(270), grace: .seconds(60))
                == [Change(user: "anna", isPresent: false)]
        )
    }

    @Test("a tab that reloads, however often, is never told of")
    func flapping() {
        var debounce = PresenceDebounce(present: ["anna"])
        for second in stride(from: Int64(0), to: 1000, by: 20) {
            let present: Set<String> = second % 40 == 0 ? [] : ["anna"]
            #expect(debounce.observe(present, now: at(second), grace: .seconds(60)) == [])
        }
        #expect(debounce.shown == ["anna"])
    }

    @Test("those who were there at the beginning are not told of; several come in order")
    func several() {
        var debounce = PresenceDebounce(present: ["a", "b"])
        #expect(
            debounce.observe(["b", "d", "c"], now: at(0), grace: .zero).map(\.user) == [
                "a", "c", "d",
            ]
        )
        #expect(debounce.shown == ["b", "c", "d"])
    }
}
