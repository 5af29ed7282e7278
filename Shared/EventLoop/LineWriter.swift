internal import CLinux
internal import Glibc

/// Writes lines to a descriptor from a thread of its own, so that a slow reader stops nobody.
///
/// Lines wait in a ring of ``bytesMax`` bytes. When it is full, further lines are dropped and
/// counted, and once there is room again a notice tells how many. The order of lines is kept.
public final class LineWriter: Sendable {
    /// How many bytes may wait; as many again may be on their way to the descriptor.
    public static let bytesMax = 1 << 20

    /// Writes to standard output; what waits is flushed when the process exits, for up to 1 s.
    public static let standardOutput: LineWriter = {
        atexit { _ = LineWriter.standardOutput.flush(within: .seconds(1)) }
        return LineWriter(descriptor: STDOUT_FILENO)
    }()

    private struct State {
        var waiting: [UInt8] = []
        var notice: (@Sendable (Int) -> [UInt8])?
        var dropped = 0
        var announced = 0
        var isBusy = false
        var isClosed = false
    }

    private let state = Guarded(State())
    private let descriptor: Int32
    private let bytesMax: Int
    /// Counts up when the thread has something to do.
    private let work: Int32
    /// Counts up when the thread has nothing left to do.
    private let idle: Int32

    /// A writer to `descriptor`, which stays the caller's and must outlive the writer.
    ///
    /// The thread lives until ``close()``.
    public init(descriptor: Int32, bytesMax: Int = LineWriter.bytesMax) {
        self.descriptor = descriptor
        self.bytesMax = bytesMax
        work = eventfd(0, Int32(EFD_CLOEXEC))
        idle = eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
        precondition(work >= 0 && idle >= 0, "two descriptors are left at the start")
        startThread()
    }

    deinit {
        Glibc.close(work)
        Glibc.close(idle)
    }

    /// How many lines were lost: refused because the ring was full, or not taken by the descriptor.
    public var droppedLines: Int { state.withLock { $0.dropped } }

    /// Makes `notice` write the line that tells how many lines were dropped.
    public func announceDrops(_ notice: @escaping @Sendable (Int) -> [UInt8]) {
        state.withLock { $0.notice = notice }
    }

    /// Takes `line`, without its line break; false when it was dropped.
    @discardableResult
    public func append(_ line: [UInt8]) -> Bool {
        let (isTaken, mustWake) = state.withLock { state in
            guard !state.isClosed, state.waiting.count + line.count < bytesMax else {
                state.dropped += 1
                return (false, false)
            }
            state.waiting.append(contentsOf: line)
            state.waiting.append(UInt8(ascii: "\n"))
            defer { state.isBusy = true }
            return (true, !state.isBusy)
        }
        if mustWake { eventfd_write(work, 1) }
        return isTaken
    }

    /// Waits until everything is written, at most `limit`; false when something is left.
    ///
    /// Blocks the calling thread: for the end of the process, not for the loop.
    @discardableResult
    public func flush(within limit: Duration) -> Bool {
        let deadline = MonotonicTime.now() + limit
        while state.withLock({ $0.isBusy }) {
            let left = (deadline - MonotonicTime.now()).milliseconds
            guard left > 0 else { return false }
            // Several callers may wait and only one of them sees the count: none waits for long.
            var watched = pollfd(fd: idle, events: Int16(POLLIN), revents: 0)
            poll(&watched, 1, Int32(min(left, 20)))
            var count: eventfd_t = 0
            eventfd_read(idle, &count)
        }
        return true
    }

    /// Takes no more lines and ends the thread once what waits is written.
    public func close() {
        state.withLock { state in
            state.isClosed = true
            state.isBusy = true
        }
        eventfd_write(work, 1)
    }

    // MARK: The thread

    private func startThread() {
        // A signal that is delivered here would end the process, or hide from the loop.
        var all = sigset_t()
        var before = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_SETMASK, &all, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        var handle = pthread_t()
        let made = pthread_create(
            &handle,
            nil,
            { context in
                guard let context else { return nil }
                Unmanaged<LineWriter>.fromOpaque(context).takeRetainedValue().run()
                return nil
            },
            Unmanaged.passRetained(self).toOpaque()
        )
        precondition(made == 0, "the writer's thread can be created")
        pthread_detach(handle)
    }

    private func run() {
        var outgoing: [UInt8] = []
        while true {
            let isLast = take(&outgoing)
            if outgoing.isEmpty {
                eventfd_write(idle, 1)
                if isLast { return }
                var count: eventfd_t = 0
                eventfd_read(work, &count)
            } else {
                write(outgoing)
                outgoing.removeAll(keepingCapacity: true)
            }
        }
    }

    /// Moves what waits to `outgoing`, which is empty; true when that was all there will ever be.
    ///
    /// One look decides both: between two, a line or the close could slip in and be waited for
    /// without end.
    private func take(_ outgoing: inout [UInt8]) -> Bool {
        let (notice, dropped, isLast) = state.withLock { state in
            swap(&state.waiting, &outgoing)
            let dropped = state.dropped - state.announced
            state.announced = state.dropped
            let notice = dropped > 0 ? state.notice : nil
            let isDone = outgoing.isEmpty && notice == nil
            if isDone { state.isBusy = false }
            return (notice, dropped, isDone && state.isClosed)
        }
        if let notice {
            outgoing += notice(dropped)
            outgoing.append(UInt8(ascii: "\n"))
        }
        return isLast
    }

    private func write(_ bytes: [UInt8]) {
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                Glibc.write(
                    descriptor,
                    buffer.baseAddress?.advanced(by: written),
                    buffer.count - written
                )
            }
            if count > 0 {
                written += count
            } else if errno == EAGAIN {
                // Somebody made standard output non-blocking: it is shared with other processes.
                var watched = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                poll(&watched, 1, -1)
            } else if errno != EINTR {
                let lost = bytes[written...].count { $0 == UInt8(ascii: "\n") }
                // Not announced: the notice would be lost the same way, and so on for ever.
                state.withLock { state in
                    state.dropped += lost
                    state.announced += lost
                }
                return
            }
        }
    }
}
