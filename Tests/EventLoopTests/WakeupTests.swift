import EventLoop
import Testing

@Suite("Wakeup")
@LoopActor
struct WakeupTests {
    private let wakeup = Wakeup()

    @Test("a rest ends when its time has passed")
    func timeout() async {
        let began = MonotonicTime.now()
        await wakeup.rest(atMost: .milliseconds(20))
        #expect(MonotonicTime.now() - began >= .milliseconds(19))
    }

    @Test("a wake ends the rest under way, and only that one")
    func wake() async {
        let began = MonotonicTime.now()
        EventLoop.shared.schedule(after: .milliseconds(5)) { wakeup.wake() }
        await wakeup.rest(atMost: .seconds(30))
        #expect(MonotonicTime.now() - began < .seconds(10))
        await wakeup.rest(atMost: .milliseconds(20))
        #expect(MonotonicTime.now() - began >= .milliseconds(24))
    }

    @Test("what comes before the rest is not slept through, however often it came")
    func early() async {
        let began = MonotonicTime.now()
        wakeup.wake()
        wakeup.wake()
        await wakeup.rest(atMost: .seconds(30))
        #expect(MonotonicTime.now() - began < .seconds(10))
        await wakeup.rest(atMost: .milliseconds(20))
        #expect(MonotonicTime.now() - began >= .milliseconds(19))
    }

    @Test("two that rest at once are a bug")
    func twice() async {
        await #expect(processExitsWith: .failure) {
            await EventLoop.shared.restTwice()
        }
    }
}

extension EventLoop {
    /// The second rest begins while the first one waits.
    @LoopActor fileprivate func restTwice() async {
        let wakeup = Wakeup()
        async let first: Void = wakeup.rest(atMost: .seconds(5))
        try? await sleep(for: .milliseconds(20))
        await wakeup.rest(atMost: .seconds(5))
        await first
    }
}
