import EventLoop
import Testing

@testable import Outbox

@Suite("CalleeGate")
struct CalleeGateTests {
    private let start = MonotonicTime(nanoseconds: 1_000_000_000)

    @Test("a service has its own places, and takes none of the others'")
    func places() {
        var gate = CalleeGate()
        for _ in 0..<CalleeGate.callsLimit { gate.began("a") }
        #expect(gate.room("a", now: start) == 0)
        #expect(gate.room("b", now: start) == CalleeGate.callsLimit)
        #expect(gate.held(now: start) == ["a"])
        gate.answered("a")
        #expect(gate.room("a", now: start) == 1)
        #expect(gate.underWay == CalleeGate.callsLimit - 1)
    }

    @Test("one that does not answer is left alone, then tried with one call until one gets through")
    func unanswered() {
        var gate = CalleeGate()
        gate.began("a")
        let pause = gate.unanswered("a", now: start, random: 1)
        #expect(pause == RelayBackoff.first)
        #expect(gate.room("a", now: start) == 0)
        let later = start + pause
        #expect(gate.room("a", now: later) == 1)
        gate.began("a")
        #expect(gate.room("a", now: later) == 0)
        gate.answered("a")
        #expect(gate.room("a", now: later) == CalleeGate.callsLimit)
    }

    @Test(
        "calls that fail together are one failure; one after the other the pause grows to its cap"
    )
    func together() {
        var gate = CalleeGate()
        for _ in 0..<8 { gate.began("a") }
        for _ in 0..<8 {
            #expect(gate.unanswered("a", now: start, random: 1) == RelayBackoff.first)
        }
        var now = start
        var pause = RelayBackoff.first
        for _ in 0..<10 {
            now = now + pause
            gate.began("a")
            let next = gate.unanswered("a", now: now, random: 1)
            #expect(next == min(RelayBackoff.cap, pause * 2))
            pause = next
        }
        #expect(pause == RelayBackoff.cap)
        #expect(gate.underWay == 0)
    }
}
