import Testing

@testable import JobQueue

@Suite("A worker's state machine")
struct WorkerStateMachineTests {
    private func machine(concurrency: Int = 2) -> WorkerStateMachine {
        WorkerStateMachine(concurrency: concurrency, drainDelay: 5000)
    }

    @Test("it asks for as many jobs as it has places, counting those on their way")
    func places() {
        var machine = machine(concurrency: 3)
        #expect(machine.wanted(now: 0, isForOutcomes: false) == 3)
        machine.asked(for: 3)
        #expect(machine.wanted(now: 0, isForOutcomes: false) == 0)
        machine.answered(.next(50), jobs: 1, of: 3, now: 0)
        #expect(machine.executing == 1 && machine.reserved == 0)
        #expect(machine.wanted(now: 0, isForOutcomes: false) == 0)
        #expect(machine.wanted(now: 0, isForOutcomes: true) == 2)
        machine.asked(for: 2)
        machine.failed(of: 2)
        #expect(machine.free == 2)
    }

    @Test(
        "it sleeps until the next job is due, within bounds",
        arguments: [
            (WorkerStateMachine.Answer.empty, WorkerStateMachine.Sleep.milliseconds(5000)),
            (.blocked, .milliseconds(5000)), (.next(1300), .milliseconds(300)),
            (.next(900), .milliseconds(1)), (.next(1_000_000), .milliseconds(10_000)),
            (.full, .none), (.limited(700), .none),
        ]
    )
    func sleeps(answer: WorkerStateMachine.Answer, sleep: WorkerStateMachine.Sleep) {
        var machine = machine()
        machine.asked(for: 1)
        machine.answered(answer, jobs: 0, of: 1, now: 1000)
        #expect(machine.sleep(now: 1000) == sleep)
    }

    @Test(
        "a marker that is due means fetch, one that is not means wait for less long",
        arguments: [
            (WorkerStateMachine.Marker.due(0), WorkerStateMachine.Wakening.fetch),
            (.due(1000), .fetch), (.due(1001), .wait), (.none, .fetch),
        ]
    )
    func wakes(marker: WorkerStateMachine.Marker, wakening: WorkerStateMachine.Wakening) {
        var machine = machine()
        machine.asked(for: 2)
        machine.answered(.empty, jobs: 0, of: 2, now: 0)
        #expect(machine.woken(marker, now: 1000) == wakening)
    }

    @Test("a wake-up that meets no free place is handed on")
    func handsOn() {
        var machine = machine(concurrency: 1)
        machine.asked(for: 1)
        machine.answered(.empty, jobs: 0, of: 1, now: 0)
        machine.asked(for: 1)
        machine.answered(.full, jobs: 1, of: 1, now: 0)
        #expect(machine.woken(.due(0), now: 1) == .handOn)
    }

    @Test("the longest sleep's end before a job is due is no reason to fetch")
    func longSleep() {
        var machine = machine()
        machine.asked(for: 1)
        machine.answered(.next(60_000), jobs: 0, of: 1, now: 0)
        #expect(machine.woken(.none, now: 10_000) == .wait)
        #expect(machine.woken(.none, now: 60_000) == .fetch)
    }

    @Test("a limit holds for its window and no longer than half a minute")
    func limited() {
        var machine = machine()
        machine.asked(for: 2)
        machine.answered(.limited(500), jobs: 0, of: 2, now: 1000)
        #expect(machine.wanted(now: 1499, isForOutcomes: true) == 0)
        #expect(machine.limitLeft(now: 1400) == 100)
        #expect(machine.wanted(now: 1500, isForOutcomes: false) == 2)
        machine.asked(for: 2)
        machine.answered(.limited(90_000), jobs: 0, of: 2, now: 0)
        #expect(machine.limitLeft(now: 0) == 30_000)
    }

    @Test("paused and stopping it asks for nothing; resumed it asks again")
    func pausing() {
        var machine = machine()
        machine.pause()
        #expect(machine.wanted(now: 0, isForOutcomes: true) == 0 && !machine.takesJobs)
        machine.resume()
        #expect(machine.wanted(now: 0, isForOutcomes: false) == 2)
        machine.stop()
        #expect(machine.wanted(now: 0, isForOutcomes: true) == 0)
        #expect(machine.sleep(now: 0) == .none)
    }
}
