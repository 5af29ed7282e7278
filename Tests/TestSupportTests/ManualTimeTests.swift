import EventLoop
import Testing
import TestSupport

@Suite("ManualTime")
struct ManualTimeTests {
    @Test("stands still until it is moved; the wall clock moves along, sums of fractions included")
    func stands() {
        let time = ManualTime()
        let start = time.now
        #expect(time.now == start)
        for _ in 0..<2000 { time.advance(by: .microseconds(500)) }
        #expect(time.now - start == .seconds(1))
        #expect(time.wallMilliseconds == 1_767_225_601_000)
    }

    @Test("the wall clock can jump either way, monotonic time does not")
    func jumps() {
        let time = ManualTime(wallMilliseconds: 1000)
        let start = time.now
        time.jumpWallClock(by: .seconds(3600))
        #expect(time.wallMilliseconds == 3_601_000)
        time.jumpWallClock(by: .seconds(-7200))
        #expect(time.wallMilliseconds == -3_599_000)
        #expect(time.now == start)
    }

    @Test("due actions run in order of deadline, equal ones as scheduled, each at its own time")
    func order() {
        let time = ManualTime(now: MonotonicTime(nanoseconds: 0))
        let log = Guarded<[String]>([])
        for (name, delay) in [("c", 30), ("a", 10), ("d", 30), ("b", 20), ("later", 31)] {
            time.schedule(after: .milliseconds(delay)) {
                log.withLock { $0.append("\(name)\(time.now.nanoseconds / 1_000_000)") }
            }
        }
        #expect(time.nextDeadline == MonotonicTime(nanoseconds: 10_000_000))
        time.advance(by: .milliseconds(30))
        #expect(log.withLock { $0 } == ["a10", "b20", "c30", "d30"])
        #expect(time.nextDeadline == MonotonicTime(nanoseconds: 31_000_000))
    }

    @Test("an action may schedule another one within the span")
    func chain() {
        let time = ManualTime()
        let count = Guarded(0)
        @Sendable func again() {
            count.withLock { $0 += 1 }
            time.schedule(after: .seconds(1)) { again() }
        }
        time.schedule(after: .seconds(1)) { again() }
        time.advance(by: .seconds(5))
        #expect(count.withLock { $0 } == 5)
    }

    @Test("a cancelled action does not run; the next deadline can be jumped to")
    func cancel() {
        let time = ManualTime()
        let ran = Guarded<[Int]>([])
        let token = time.schedule(after: .seconds(1)) { ran.withLock { $0.append(1) } }
        time.schedule(after: .seconds(2)) { ran.withLock { $0.append(2) } }
        time.cancel(token)
        let start = time.now
        #expect(time.advanceToNextDeadline())
        #expect(time.now - start == .seconds(2))
        #expect(ran.withLock { $0 } == [2])
        #expect(!time.advanceToNextDeadline())
    }
}
