internal import CLinux
internal import Glibc

/// Signals that ask a process to stop or to reload; blocked so that signalfd delivers them.
private let stopSignals = [SIGTERM, SIGINT, SIGHUP]

func blockStopSignals() {
    var set = sigset_t()
    sigemptyset(&set)
    for signal in stopSignals { sigaddset(&set, signal) }
    pthread_sigmask(SIG_BLOCK, &set, nil)
}

/// The signalfd of the process.
@LoopActor
final class SignalChannel: Channel {
    private let descriptor: Int32

    init() throws(EventLoopError) {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in stopSignals { sigaddset(&set, signal) }
        descriptor = signalfd(-1, &set, Int32(SFD_NONBLOCK | SFD_CLOEXEC))
        if descriptor < 0 { throw EventLoopError(operation: "signalfd", errno: errno) }
        _ = try EventLoop.shared.add(self, descriptor: descriptor, interest: .read)
    }

    func ready(_ readiness: Readiness) {
        var info = signalfd_siginfo()
        let size = MemoryLayout<signalfd_siginfo>.size
        while read(descriptor, &info, size) == size {
            EventLoop.shared.signalActions[Int32(info.ssi_signo)]?()
        }
    }
}

@LoopActor
extension EventLoop {
    /// Calls `action` on the loop each time the process receives `signal`.
    ///
    /// - Parameter signal: SIGTERM, SIGINT or SIGHUP.
    /// - Throws: `EventLoopError` when no signalfd can be had.
    public func onSignal(
        _ signal: Int32,
        _ action: @escaping @LoopActor () -> Void
    ) throws(EventLoopError) {
        precondition(stopSignals.contains(signal), "signal \(signal) is not one the loop takes")
        if signalChannel == nil { signalChannel = try SignalChannel() }
        signalActions[signal] = action
    }
}
