internal import EventLoop
internal import Glibc

/// The proxy's thread: polls, moves bytes, applies the mode.
///
/// Belongs to that thread alone; the test reaches it through the control only.
final class FaultProxyEngine {
    private let listener: Int32
    private let upstream: SocketAddress
    private let connectionsLimit: Int
    private let control: FaultProxy.Control
    private var links: [FaultProxyLink] = []
    private var mode = FaultProxy.Mode.pass
    private var accepted = 0

    init(
        listener: Int32,
        upstream: SocketAddress,
        connectionsLimit: Int,
        control: FaultProxy.Control
    ) {
        self.connectionsLimit = connectionsLimit
        self.listener = listener
        self.upstream = upstream
        self.control = control
    }

    func run() {
        // The orders are taken after the wait, so that a mode set before a client connects holds.
        while takeOrders() {
            for link in links { link.apply(mode, upstream) }
            acceptAll()
            let now = MonotonicTime.now()
            for link in links { link.move(mode, now) }
            links.removeAll(where: \.isClosed)
            tellReadings()
            poll()
        }
        for link in links { link.reset() }
        close(listener)
        control.state.withLock { state in
            state.open = 0
            state.hasEnded = true
        }
    }

    /// Takes over the mode; `false` to end.
    private func takeOrders() -> Bool {
        control.state.withLock { state in
            mode = state.mode
            return !state.isStopped
        }
    }

    private func tellReadings() {
        control.state.withLock { state in
            state.accepted = accepted
            state.open = links.count
        }
    }

    private func poll() {
        var descriptors = [
            pollfd(fd: listener, events: Int16(POLLIN), revents: 0),
            pollfd(fd: control.wakeup, events: Int16(POLLIN), revents: 0),
        ]
        let now = MonotonicTime.now()
        var wait = Duration.seconds(3600)
        for link in links { link.addInterest(mode, now, &descriptors, &wait) }
        let milliseconds = (wait.nanoseconds + 999_999) / 1_000_000
        Glibc.poll(&descriptors, nfds_t(descriptors.count), Int32(clamping: milliseconds))
        control.takeWakeups()
    }

    private func acceptAll() {
        while true {
            let descriptor = accept(listener, nil, nil)
            guard descriptor >= 0 else { return }
            // It may have been set after the orders were taken and before this client came.
            _ = takeOrders()
            _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
            _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
            accepted += 1
            let link = FaultProxyLink(client: descriptor)
            if links.count >= connectionsLimit { link.reset() }
            link.apply(mode, upstream)
            links.append(link)
        }
    }
}
