import EventLoop
import Testing

@Suite("Repeated work")
struct RepeatedWorkTests {
    @Test(
        "the first time comes when asked for, else after an interval; further ones each after that"
    )
    @LoopActor func begins() async throws {
        let early = Times()
        let patient = RepeatedWork(every: .seconds(60)) { early.note() }
        let began = MonotonicTime.now()
        patient.start(after: .zero)
        while early.all.isEmpty { try await EventLoop.shared.sleep(for: .milliseconds(1)) }
        patient.stop()
        #expect(early.all[0] - began < .seconds(30))

        let times = Times()
        let quick = RepeatedWork(every: .milliseconds(20)) { times.note() }
        let then = MonotonicTime.now()
        quick.start()
        while times.all.count < 3 { try await EventLoop.shared.sleep(for: .milliseconds(1)) }
        quick.stop()
        for (before, after) in zip([then] + times.all, times.all) {
            #expect(after - before >= .milliseconds(19))
        }
    }

    @Test("its end waits for what is under way, and nothing more begins")
    @LoopActor func ends() async throws {
        let times = Times()
        let gate = Wakeup()
        let work = RepeatedWork(every: .milliseconds(1)) {
            times.note()
            await gate.rest(atMost: .seconds(10))
            times.note()
        }
        work.start()
        while times.all.isEmpty { try await EventLoop.shared.sleep(for: .milliseconds(1)) }
        EventLoop.shared.schedule(after: .milliseconds(20)) { gate.wake() }
        await work.end()
        #expect(times.all.count == 2)
        try await EventLoop.shared.sleep(for: .milliseconds(20))
        work.start()
        try await EventLoop.shared.sleep(for: .milliseconds(20))
        #expect(times.all.count == 2)
    }

    @LoopActor
    final class Times {
        var all: [MonotonicTime] = []
        func note() { all.append(.now()) }
    }
}
