internal import CLinux
internal import Glibc
internal import Synchronization

/// The process's one event loop: epoll, timers, and the executor of ``LoopActor``.
///
/// Order of a tick: run ready jobs (at most ``EventLoop/jobsPerTick``), flush what asked for it,
/// wait for readiness (not at all while jobs are left), tell the channels, fire due timers.
/// Everything but the inbox below belongs to the loop's thread.
///
/// `@unchecked Sendable`, the only place that is: `inbox` is guarded by its mutex, `thread` and
/// `started` are atomic, the rest is reached only through ``LoopActor`` or from `enqueue` on the
/// loop's own thread.
public final class EventLoop: SerialExecutor, @unchecked Sendable {
    /// The process's one loop.
    ///
    /// It runs on the thread that calls ``run(_:)``, or, when nobody does (tests), on a thread of
    /// its own from the first use.
    public static let shared = EventLoop()

    /// How many jobs run before sockets are looked at again; the rest wait for the next tick.
    public static let jobsPerTick = 4096
    /// How many readiness events one tick takes from the kernel.
    public static let eventsPerTick = 512
    /// A tick longer than this is counted as a stall.
    public static let stallLimit: Duration = .milliseconds(20)

    struct Inbox {
        var jobs: [UnownedJob] = []
        var isWoken = false
    }

    let inbox = Guarded(Inbox())
    let started = Atomic<Bool>(false)
    let thread = Atomic<UInt>(0)

    let poller: Int32
    let wakeup: Int32

    var ready: [UnownedJob] = []
    var slots: [Slot] = []
    var timers = TimerQueue()
    var flushes: [any Flushable] = []
    var signalActions: [Int32: @LoopActor () -> Void] = [:]
    var signalChannel: SignalChannel?
    var readings = LoopReadings()
    var tickStart = MonotonicTime.now()
    /// Jobs that came from other threads.
    package var arrivals = 0
    var stop = false

    struct Slot {
        var channel: (any Channel)?
        var generation: UInt32 = 0
        var interest: Interest = []
    }

    init() {
        poller = epoll_create1(Int32(EPOLL_CLOEXEC))
        wakeup = eventfd(0, Int32(EFD_NONBLOCK) | Int32(EFD_CLOEXEC))
        precondition(poller >= 0 && wakeup >= 0, "epoll and eventfd are there on every Linux")
        // Generation 0 is the wake-up's own; channels start at 1.
        let added = switchboard_epoll_control(
            poller,
            EPOLL_CTL_ADD,
            wakeup,
            EPOLLIN.rawValue,
            UInt64(UInt32(wakeup))
        )
        precondition(added == 0, "the wake-up descriptor can be watched")
        // libpq writes by itself, without MSG_NOSIGNAL.
        signal(SIGPIPE, SIG_IGN)
        keepResumedTasksOnTheLoop()
    }

    /// Whether the caller runs on the loop's thread.
    public var isCurrent: Bool {
        thread.load(ordering: .relaxed) == UInt(pthread_self())
    }

    /// Traps unless called on the loop's thread.
    public func preconditionOnLoop() {
        precondition(isCurrent, "loop state was touched from another thread")
    }

    // MARK: Life

    /// Turns the calling thread into the loop's thread until `body` ends, and returns its result.
    ///
    /// Call once, first thing in `main`. SIGTERM, SIGINT and SIGHUP are blocked for the process, so
    /// that ``onSignal(_:_:)`` receives them.
    public static func run<Value: Sendable>(
        _ body: @escaping @LoopActor @Sendable () async throws -> Value
    ) throws -> Value {
        let loop = EventLoop.shared
        precondition(!loop.started.exchange(true, ordering: .acquiringAndReleasing))
        loop.thread.store(UInt(pthread_self()), ordering: .relaxed)
        blockStopSignals()
        let outcome = Guarded<Result<Value, any Error>?>(nil)
        LoopActor.assumeIsolated {
            _ = Task { @LoopActor in
                let result: Result<Value, any Error>
                do { result = .success(try await body()) } catch { result = .failure(error) }
                outcome.withLock { $0 = result }
                loop.stop = true
            }
            loop.turn()
        }
        guard let result = outcome.withLock({ $0 }) else { preconditionFailure("body has ended") }
        return try result.get()
    }

    func startOwnThreadIfNeeded() {
        guard !started.load(ordering: .relaxed),
            !started.exchange(true, ordering: .acquiringAndReleasing)
        else { return }
        var handle = pthread_t()
        let made = pthread_create(
            &handle,
            nil,
            { _ in
                EventLoop.shared.thread.store(UInt(pthread_self()), ordering: .relaxed)
                LoopActor.assumeIsolated { EventLoop.shared.turn() }
                return nil
            },
            nil
        )
        precondition(made == 0, "the loop's thread can be created")
    }

    // MARK: The tick

    /// Turns until ``stop``; the body of the loop's thread.
    @LoopActor func turn() {
        let events = UnsafeMutableBufferPointer<epoll_event>.allocate(
            capacity: EventLoop.eventsPerTick
        )
        defer { events.deallocate() }
        while !stop {
            runReadyJobs()
            runFlushes()
            noteTickEnd()
            let count = epoll_wait(
                poller,
                events.baseAddress,
                Int32(events.count),
                waitMilliseconds()
            )
            tickStart = MonotonicTime.now()
            // EINTR is the only failure a valid poller can report; it means "nothing happened".
            for index in 0..<max(0, Int(count)) { deliver(events[index]) }
            fireTimers()
        }
    }

    @LoopActor private func runReadyJobs() {
        let executor = asUnownedSerialExecutor()
        var budget = EventLoop.jobsPerTick
        var running: [UnownedJob] = []
        while !ready.isEmpty && budget > 0 {
            swap(&ready, &running)
            let count = min(running.count, budget)
            for job in running[..<count] { job.runSynchronously(on: executor) }
            budget -= count
            readings.jobs += count
            if count < running.count {
                // What is left goes before what these jobs made ready.
                ready.insert(contentsOf: running[count...], at: 0)
            }
            running.removeAll(keepingCapacity: true)
        }
        // Hand the larger buffer back, so that a steady state allocates nothing.
        if ready.isEmpty { swap(&ready, &running) }
    }

    @LoopActor private func runFlushes() {
        var due: [any Flushable] = []
        while !flushes.isEmpty {
            swap(&flushes, &due)
            for flushable in due {
                flushable.isFlushScheduled = false
                flushable.flush()
            }
            due.removeAll(keepingCapacity: true)
        }
        // As in ``runReadyJobs()``.
        swap(&flushes, &due)
    }

    @LoopActor private func waitMilliseconds() -> Int32 {
        if !ready.isEmpty || !flushes.isEmpty || stop { return 0 }
        guard let deadline = timers.nextDeadline else { return -1 }
        let nanoseconds = (deadline - MonotonicTime.now()).nanoseconds
        if nanoseconds <= 0 { return 0 }
        // Rounded up: waking a little early would spin through ticks until the timer is due.
        return Int32(clamping: (nanoseconds + 999_999) / 1_000_000)
    }

    @LoopActor private func deliver(_ event: epoll_event) {
        var event = event
        let data = switchboard_epoll_data(&event)
        let descriptor = Int(UInt32(truncatingIfNeeded: data))
        let generation = UInt32(truncatingIfNeeded: data >> 32)
        if generation == 0 {
            takeInbox()
            return
        }
        // A descriptor closed and reused earlier in this batch has another generation.
        guard descriptor < slots.count, slots[descriptor].generation == generation,
            let channel = slots[descriptor].channel
        else { return }
        channel.ready(Readiness(events: event.events))
    }

    @LoopActor private func takeInbox() {
        var count: eventfd_t = 0
        eventfd_read(wakeup, &count)
        inbox.withLock { inbox in
            arrivals += inbox.jobs.count
            ready.append(contentsOf: inbox.jobs)
            inbox.jobs.removeAll(keepingCapacity: true)
            inbox.isWoken = false
        }
    }

    @LoopActor private func fireTimers() {
        let now = tickStart
        while let timer = timers.popDue(now: now) {
            readings.noteLag(now - timer.deadline)
            timer.fire()
        }
    }

    @LoopActor private func noteTickEnd() {
        readings.noteTick(MonotonicTime.now() - tickStart)
    }
}
