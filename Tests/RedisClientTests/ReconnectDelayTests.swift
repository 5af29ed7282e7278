import EventLoop
import Testing

@testable import RedisClient

@Suite("ReconnectDelay")
struct ReconnectDelayTests {
    @Test("waits double from 50 ms to 2 s, less 10 to 50 %")
    func doubling() {
        for (random, factor) in [(0.0, 0.5), (1.0, 0.9)] {
            var delay = ReconnectDelay()
            for nominal in [50, 100, 200, 400, 800, 1600, 2000, 2000, 2000] {
                let wait = delay.afterFailure(elapsed: .zero, random: random)
                #expect(wait == .milliseconds(nominal) * factor)
            }
        }
    }

    @Test("no wait is as long as two seconds, however many failures and whatever the jitter")
    func ceiling() {
        var delay = ReconnectDelay()
        for failure in 0..<100 {
            let random = Double(failure % 11) / 10
            #expect(delay.afterFailure(elapsed: .zero, random: random) < .milliseconds(1900))
        }
    }

    @Test("the time of the attempt counts, but a pause remains")
    func elapsed() {
        var delay = ReconnectDelay()
        for _ in 0..<9 { _ = delay.afterFailure(elapsed: .zero, random: 1) }
        let afterSlow = delay.afterFailure(elapsed: .seconds(1), random: 1)
        #expect(afterSlow == .milliseconds(800))
        let afterSlower = delay.afterFailure(elapsed: .seconds(5), random: 1)
        #expect(afterSlower == ReconnectDelay.least)
    }

    @Test("a steady connection starts the waits over, a short one does not")
    func loss() {
        var delay = ReconnectDelay()
        for _ in 0..<4 { _ = delay.afterFailure(elapsed: .zero, random: 1) }
        #expect(delay.afterLoss(held: .milliseconds(1999), random: 1) == .milliseconds(720))
        #expect(delay.afterLoss(held: .seconds(2), random: 1) == .milliseconds(45))
        #expect(delay.afterFailure(elapsed: .zero, random: 1) == .milliseconds(90))
    }
}
