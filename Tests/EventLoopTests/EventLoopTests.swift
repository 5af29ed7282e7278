import EventLoop
import Glibc
import Testing

@Suite("EventLoop")
struct EventLoopTests {
    @Test("isolated code runs on the loop's thread and nowhere else")
    func isolation() async {
        // In a process of its own: here the runner itself may have come to stay on the loop's thread.
        await #expect(processExitsWith: .success) {
            precondition(!EventLoop.shared.isCurrent)
            let isOnLoop = await LoopActor.run { EventLoop.shared.isCurrent }
            precondition(isOnLoop)
        }
    }

    @Test("a task that waited goes on upon the loop, without a visit to another thread")
    func resumption() async {
        // In a process of its own, where nobody else sends jobs to the loop.
        await #expect(processExitsWith: .success) {
            let arrivals = await arrivalsOfHundredWaits()
            precondition(arrivals < 10, "\(arrivals) jobs came from another thread")
        }
    }

    @Test("an immediate task that never waits has run when its creation returns")
    @LoopActor func immediate() async {
        let flushable = CountingFlush()
        EventLoop.shared.schedule(after: .zero) {
            Task.immediate { flushable.flush() }
            flushable.count += 10 * flushable.count
        }
        try? await EventLoop.shared.sleep(for: .milliseconds(2))
        #expect(flushable.count == 11)
    }

    @Test("a plain task inherits the isolation")
    @LoopActor func plainTask() async {
        #expect(EventLoop.shared.isCurrent)
        // A plain Task inherits the isolation; it does not leave the loop.
        #expect(await Task { EventLoop.shared.isCurrent }.value)
    }

    @Test("touching loop state from another thread traps")
    func trap() async {
        await #expect(processExitsWith: .failure) {
            LoopActor.assumeIsolated {}
        }
    }

    @Test("timers fire in the order of their deadlines, equal ones as made")
    @LoopActor func timerOrder() async throws {
        var fired: [Int] = []
        let start = MonotonicTime.now()
        for (name, delay) in [(3, 30), (1, 10), (4, 30), (2, 20)] {
            EventLoop.shared.schedule(at: start + .milliseconds(delay)) { fired.append(name) }
        }
        try await EventLoop.shared.sleep(for: .milliseconds(60))
        #expect(fired == [1, 2, 3, 4])
    }

    @Test("a cancelled timer never fires")
    @LoopActor func cancelledTimer() async throws {
        var fired = false
        let timer = EventLoop.shared.schedule(after: .milliseconds(5)) { fired = true }
        EventLoop.shared.cancel(timer)
        EventLoop.shared.cancel(timer)
        try await EventLoop.shared.sleep(for: .milliseconds(30))
        #expect(!fired)
        #expect(!timer.isPending)
    }

    @Test("a cancelled sleep ends at once")
    @LoopActor func cancelledSleep() async {
        let start = MonotonicTime.now()
        let sleeper = Task { try await EventLoop.shared.sleep(for: .seconds(60)) }
        await Task.yield()
        sleeper.cancel()
        await #expect(throws: CancellationError.self) { try await sleeper.value }
        #expect(MonotonicTime.now() - start < .seconds(30))
    }

    @Test("a stale event of a reused descriptor reaches nobody")
    @LoopActor func generations() async throws {
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        let first = Recorder()
        let registration = try EventLoop.shared.add(first, descriptor: ends[0], interest: .read)
        EventLoop.shared.remove(registration)
        let second = Recorder()
        let again = try EventLoop.shared.add(second, descriptor: ends[0], interest: .read)
        // The old registration names the same descriptor, but not this watch.
        EventLoop.shared.update(registration, interest: [])
        EventLoop.shared.remove(registration)
        write(ends[1], "x", 1)
        try await EventLoop.shared.sleep(for: .milliseconds(20))
        #expect(first.seen == 0)
        #expect(second.seen > 0)
        EventLoop.shared.remove(again)
        close(ends[0])
        close(ends[1])
    }

    @Test("an event that waits in the same batch does not reach the descriptor's next owner")
    @LoopActor func generationsWithinBatch() async throws {
        let (one, other) = try (Replacing(), Replacing())
        (one.other, other.other) = (other, one)
        // Both are ready before the kernel is asked again: one batch tells of both.
        one.write()
        other.write()
        try await EventLoop.shared.sleep(for: .milliseconds(20))
        let next = try #require(one.next ?? other.next)
        #expect(one.seen + other.seen == 1)
        #expect(next.seen == 0)
        one.end()
        other.end()
    }

    @Test("a flush asked for many times in a tick happens once, at its end")
    @LoopActor func flushOnce() async {
        let flushable = CountingFlush()
        for _ in 0..<10 { EventLoop.shared.flushLater(flushable) }
        #expect(flushable.count == 0)
        await Task.yield()
        try? await EventLoop.shared.sleep(for: .milliseconds(1))
        #expect(flushable.count == 1)
    }

    @Test("jobs that make jobs do not keep sockets and timers from being served")
    @LoopActor func boundedJobs() async throws {
        let spinner = Task {
            while !Task.isCancelled { await Task.yield() }
        }
        try await EventLoop.shared.sleep(for: .milliseconds(10))
        spinner.cancel()
        await spinner.value
    }

    @Test("however many jobs are ready, timers are served after a tick's share of them")
    @LoopActor func boundedTick() async {
        let jobs = EventLoop.jobsPerTick * 5
        var done = 0
        var doneWhenFired: Int?
        EventLoop.shared.schedule(after: .zero) { doneWhenFired = done }
        let tasks = (0..<jobs).map { _ in Task { @LoopActor in done += 1 } }
        for task in tasks { await task.value }
        #expect(done == jobs)
        #expect((doneWhenFired ?? jobs) <= EventLoop.jobsPerTick * 2)
    }

    @Test("work from many threads arrives, each piece once")
    func crossThread() async {
        let total = await withTaskGroup(of: Int.self) { group in
            for _ in 0..<200 {
                group.addTask { @concurrent in await LoopActor.run { 1 } }
            }
            return await group.reduce(0, +)
        }
        #expect(total == 200)
    }

    @Test("offloaded work leaves the loop and comes back")
    @LoopActor func offload() async throws {
        let wasOnLoop = try await Offload.compute.run { EventLoop.shared.isCurrent }
        #expect(!wasOnLoop)
        #expect(EventLoop.shared.isCurrent)
        await #expect(throws: EventLoopError.self) {
            try await Offload.compute.run { throw EventLoopError(operation: "x", errno: 2) }
        }
    }

    @Test("a full offload executor refuses instead of growing")
    func offloadLimit() async throws {
        let offload = Offload(name: "test")
        let tasks = (0..<Offload.waitingLimit + 50).map { _ in
            Task { @LoopActor in
                do {
                    try await offload.run { _ = usleep(200) }
                    return true
                } catch { return false }
            }
        }
        var results: [Bool] = []
        for task in tasks { results.append(await task.value) }
        #expect(results.count(where: { $0 }) >= Offload.waitingLimit)
        #expect(results.contains(false))
    }

    @Test("a tick over the limit is counted and told")
    @LoopActor func stalls() async throws {
        let before = EventLoop.shared.statistics.stalls
        usleep(30_000)
        try await EventLoop.shared.sleep(for: .milliseconds(1))
        #expect(EventLoop.shared.statistics.stalls > before)
    }
}

@LoopActor private final class Recorder: Channel {
    var seen = 0
    nonisolated init() {}
    func ready(_ readiness: Readiness) { seen += 1 }
}

/// The read end of a pipe; whichever of two hears first gives the other's descriptor to a new pipe.
@LoopActor private final class Replacing: Channel {
    private var ends: [Int32] = [0, 0]
    private var spare: [Int32] = []
    private var registration: Registration?
    weak var other: Replacing?
    private(set) var seen = 0
    private(set) var next: Recorder?

    init() throws {
        precondition(pipe(&ends) == 0)
        registration = try EventLoop.shared.add(self, descriptor: ends[0], interest: .read)
    }

    func write() { Glibc.write(ends[1], "x", 1) }

    func ready(_ readiness: Readiness) {
        seen += 1
        unregister()
        guard let other, other.seen == 0 else { return }
        other.unregister()
        var fresh: [Int32] = [0, 0]
        precondition(pipe(&fresh) == 0)
        precondition(dup2(fresh[0], other.ends[0]) == other.ends[0])
        spare = fresh
        let recorder = Recorder()
        other.registration = try? EventLoop.shared.add(
            recorder,
            descriptor: other.ends[0],
            interest: .read
        )
        next = recorder
    }

    func end() {
        unregister()
        for descriptor in ends + spare { close(descriptor) }
    }

    private func unregister() {
        if let registration { EventLoop.shared.remove(registration) }
        registration = nil
    }
}

@LoopActor private final class CountingFlush: Flushable {
    var isFlushScheduled = false
    var count = 0
    nonisolated init() {}
    func flush() { count += 1 }
}

@LoopActor private func arrivalsOfHundredWaits() async -> Int {
    let before = EventLoop.shared.arrivals
    for _ in 0..<100 { try? await EventLoop.shared.sleep(for: .zero) }
    return EventLoop.shared.arrivals - before
}

extension LoopActor {
    static func run<Value: Sendable>(_ body: @LoopActor () -> Value) async -> Value {
        await body()
    }
}
