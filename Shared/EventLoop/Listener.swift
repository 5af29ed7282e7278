internal import CLinux
internal import Glibc

/// Who takes the connections of a ``Listener``.
@LoopActor
public protocol ListenerDelegate: AnyObject {
    /// A connection has come.
    func accepted(_ socket: consuming StreamSocket)

    /// A connection has come that must be closed before this returns: the process has no
    /// descriptor left (EMFILE), and this one is lent from the spare.
    func refused(_ socket: consuming StreamSocket)
}

/// A listening socket that survives running out of descriptors.
///
/// A spare descriptor is kept: on EMFILE it is given up, the connection is taken, told off and
/// closed, and the spare is opened anew. Otherwise the connection would stay at the head of the
/// kernel's queue, and a level-triggered loop would spin on it.
@LoopActor
public final class Listener: Channel {
    /// How many connections one tick takes; the rest waits for the next.
    public static let acceptsPerTick = 64
    /// How long accepting pauses when not even the spare descriptor helps.
    public static let pause: Duration = .milliseconds(100)

    /// The bound address, with the port that the kernel chose when 0 was asked for.
    public let address: SocketAddress
    /// How many connections were turned away for want of a descriptor.
    public private(set) var refusals = 0

    private var descriptor: Int32
    private var spare: Int32
    private var registration: Registration?
    private var resumption: LoopTimer?
    private weak var delegate: (any ListenerDelegate)?

    /// Binds and listens; connections wait in the kernel until ``start(_:)``.
    ///
    /// - Parameters:
    ///   - address: where to listen; port 0 lets the kernel choose.
    ///   - backlog: how many connections the kernel keeps waiting.
    ///   - sharesPort: whether other processes may listen on the same port (SO_REUSEPORT), so that
    ///     replicas on one machine share it and a new one can start before the old one has ended.
    /// - Throws: `EventLoopError` of the call that failed.
    public init(
        address: SocketAddress,
        backlog: Int = 1024,
        sharesPort: Bool = true
    ) throws(EventLoopError) {
        let family = address.isIPv4 ? AF_INET : AF_INET6
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let made = socket(family, kind, 0)
        if made < 0 { throw EventLoopError(operation: "socket", errno: errno) }
        do {
            let bound = try Listener.prepare(made, address, backlog, sharesPort)
            self.address = bound
        } catch {
            _ = Glibc.close(made)
            throw error
        }
        descriptor = made
        spare = Listener.openSpare()
    }

    private static func prepare(
        _ descriptor: Int32,
        _ address: SocketAddress,
        _ backlog: Int,
        _ sharesPort: Bool
    ) throws(EventLoopError) -> SocketAddress {
        set(descriptor, SOL_SOCKET, SO_REUSEADDR, 1)
        if sharesPort { set(descriptor, SOL_SOCKET, SO_REUSEPORT, 1) }
        // `::` takes IPv4 as well.
        if !address.isIPv4 { set(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, 0) }
        // Inherited by every accepted socket: saves a call per connection.
        set(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        let bound = address.withKernelForm { bind(descriptor, $0, $1) }
        if bound != 0 { throw EventLoopError(operation: "bind", errno: errno) }
        if listen(descriptor, Int32(backlog)) != 0 {
            throw EventLoopError(operation: "listen", errno: errno)
        }
        var storage = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let named = withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getsockname(descriptor, $0, &size)
            }
        }
        guard named == 0, let local = SocketAddress(storage) else {
            throw EventLoopError(operation: "getsockname", errno: errno)
        }
        return local
    }

    private static func set(_ descriptor: Int32, _ level: Int32, _ name: Int32, _ value: Int32) {
        var value = value
        let size = socklen_t(MemoryLayout<Int32>.size)
        // None of these can fail on a fresh socket of a kernel that has the option.
        _ = setsockopt(descriptor, level, name, &value, size)
    }

    private static func openSpare() -> Int32 { open("/dev/null", O_RDONLY | O_CLOEXEC) }

    /// Begins to hand connections to `delegate`, which is not kept alive.
    ///
    /// - Throws: `EventLoopError` when the kernel refuses to watch the socket.
    public func start(_ delegate: any ListenerDelegate) throws(EventLoopError) {
        self.delegate = delegate
        registration = try EventLoop.shared.add(self, descriptor: descriptor, interest: .read)
    }

    /// Takes what waits, at most ``acceptsPerTick``.
    public func ready(_ readiness: Readiness) {
        for _ in 0..<Listener.acceptsPerTick where !acceptOne() { return }
    }

    /// Takes every connection that waits in the kernel, then closes; a second call does nothing.
    ///
    /// Closing first would reset those connections, although their clients believe to be served.
    public func close() {
        guard descriptor >= 0 else { return }
        while acceptOne() {}
        if let resumption { EventLoop.shared.cancel(resumption) }
        if let registration { EventLoop.shared.remove(registration) }
        registration = nil
        _ = Glibc.close(descriptor)
        descriptor = -1
        if spare >= 0 { _ = Glibc.close(spare) }
        spare = -1
    }

    /// Whether to go on: a connection was taken, or one was lost on the way.
    private func acceptOne() -> Bool {
        var storage = sockaddr_storage()
        var size = socklen_t()
        let taken = switchboard_accept(descriptor, &storage, &size)
        guard taken < 0 else {
            // Made before anybody is asked, so that it is closed when nobody is there any more.
            let socket = StreamSocket(descriptor: taken, peer: SocketAddress(storage) ?? address)
            delegate?.accepted(socket)
            return true
        }
        switch errno {
        case EAGAIN:
            return false
        case EMFILE, ENFILE, ENOBUFS, ENOMEM:
            return refuseOne()
        case ECONNABORTED, EINTR, EPROTO, EPERM, ENETDOWN, EHOSTUNREACH, ENETUNREACH:
            // This one is lost on the way (accept(2)); the next may be fine.
            return true
        default:
            pauseAccepting()
            return false
        }
    }

    private func refuseOne() -> Bool {
        if spare >= 0 { _ = Glibc.close(spare) }
        var storage = sockaddr_storage()
        var size = socklen_t()
        let taken = switchboard_accept(descriptor, &storage, &size)
        if taken >= 0 {
            refusals += 1
            let socket = StreamSocket(descriptor: taken, peer: SocketAddress(storage) ?? address)
            delegate?.refused(socket)
        }
        spare = Listener.openSpare()
        if taken < 0 || spare < 0 { pauseAccepting() }
        return taken >= 0 && spare >= 0
    }

    /// Looks away for a moment; without this a loop without descriptors would spin.
    private func pauseAccepting() {
        guard let registration else { return }
        EventLoop.shared.update(registration, interest: [])
        resumption = EventLoop.shared.schedule(after: Listener.pause) { [weak self] in
            guard let self, let registration = self.registration else { return }
            if spare < 0 { spare = Listener.openSpare() }
            EventLoop.shared.update(registration, interest: .read)
        }
    }
}
