internal import CLinux
internal import Synchronization

extension EventLoop {
    /// Takes a job from any thread; jobs of the loop's own thread need no lock and no wake-up.
    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        if isCurrent {
            ready.append(job)
            return
        }
        startOwnThreadIfNeeded()
        let mustWake = inbox.withLock { inbox in
            inbox.jobs.append(job)
            defer { inbox.isWoken = true }
            return !inbox.isWoken
        }
        if mustWake { eventfd_write(wakeup, 1) }
    }

    /// Traps when the caller is not on the loop.
    public func checkIsolated() { preconditionOnLoop() }

    /// Lets C callbacks, where no task runs, be recognised as isolated.
    public func isIsolatingCurrentContext() -> Bool? { isCurrent }
}

private typealias EnqueueJob = @convention(thin) (UnownedJob) -> Void
private typealias EnqueueHook = @convention(thin) (UnownedJob, EnqueueJob) -> Void

/// Lets a task that a continuation resumes on the loop's thread go on there.
///
/// The runtime resumes every continuation on "no particular executor", which means the global
/// thread pool, and the task then hops back to the actor that it is isolated to: two thread
/// switches, 37 µs for each wait (measured, Swift 6.3.1). The runtime's own hook for such jobs puts
/// them into the loop's ready queue when, and only when, they arise on the loop's thread; there they
/// find themselves on the right executor and run on at once. A wait then costs 0.4 µs, a task that
/// never waits 0.25 µs and no switch, so compile-time isolation costs a request nothing measurable.
///
/// It also means that `Task.detached` and `@concurrent` code started from the loop stays on the
/// loop's thread: work that must leave it goes through ``Offload``.
func keepResumedTasksOnTheLoop() {
    let hook: EnqueueHook = { job, enqueueGlobally in
        let loop = EventLoop.shared
        if loop.isCurrent { loop.ready.append(job) } else { enqueueGlobally(job) }
    }
    switchboard_set_enqueue_hook(unsafeBitCast(hook, to: UnsafeMutableRawPointer.self))
}
