public import EventLoop
internal import Foundation
internal import Glibc

/// A TCP proxy on loopback that breaks connections in the ways networks do.
///
/// Put it between a client and a real server and change ``mode`` while they talk. It has a thread of
/// its own, so it goes on when the loop under test is stopped or busy.
public final class FaultProxy: Sendable {
    /// What happens to connections, existing and new.
    public enum Mode: Sendable, Hashable {
        /// Bytes go through.
        case pass
        /// Every connection is reset, new ones as soon as they are accepted.
        case reset
        /// Requests go through; the first byte of the server's answer resets the connection.
        case resetOnAnswer
        /// Nothing moves, nobody is told; after healing everything arrives late.
        case blackHole
        /// The server's side is gone and the client is not told; what the client sends vanishes.
        /// After healing the first thing that the client sends resets the connection.
        case halfOpen
        /// Bytes go through slowly, each direction for itself.
        case trickle(bytesPerSecond: Int)
        /// Bytes arrive this much later.
        case delay(Duration)
    }

    /// The default of the most connections at once; more are reset on arrival.
    public static let connectionsLimitDefault = 1024
    /// Bytes kept for one direction of a connection; above it the proxy stops reading.
    public static let bufferLimit = 256 * 1024

    /// What the test and the proxy's thread share.
    final class Control: Sendable {
        struct State {
            var mode: Mode
            var accepted = 0
            var open = 0
            var isStopped = false
            var hasEnded = false
        }

        let state: Guarded<State>
        /// A pipe: a byte written to the second end wakes who polls the first.
        private let ends: [Int32]

        init(_ mode: Mode) throws(EventLoopError) {
            state = Guarded(State(mode: mode))
            var ends: [Int32] = [-1, -1]
            if pipe(&ends) != 0 { throw EventLoopError(operation: "pipe", errno: errno) }
            for end in ends {
                _ = fcntl(end, F_SETFL, O_NONBLOCK)
                _ = fcntl(end, F_SETFD, FD_CLOEXEC)
            }
            self.ends = ends
        }

        deinit { for end in ends { close(end) } }

        var wakeup: Int32 { ends[0] }

        func wake() { _ = write(ends[1], [1], 1) }

        func takeWakeups() {
            var bytes = [UInt8](repeating: 0, count: 64)
            while read(ends[0], &bytes, bytes.count) > 0 {}
        }
    }

    /// Where clients connect, on 127.0.0.1.
    public let port: UInt16
    private let control: Control

    /// Starts a proxy for a server.
    ///
    /// - Parameters:
    ///   - upstreamAddress: an IPv4 address; names are not looked up.
    ///   - connectionsLimit: more connections at once are reset on arrival.
    /// - Throws: `EventLoopError` when a descriptor or a port cannot be had.
    public init(
        upstreamPort: UInt16,
        upstreamAddress: String = "127.0.0.1",
        mode: Mode = .pass,
        connectionsLimit: Int = FaultProxy.connectionsLimitDefault
    ) throws(EventLoopError) {
        guard let upstream = SocketAddress(upstreamAddress, port: upstreamPort) else {
            throw EventLoopError(operation: "inet_pton", errno: EINVAL)
        }
        let control = try Control(mode)
        let (listener, port) = try SocketAddress.listen()
        self.port = port
        self.control = control
        Thread.detachNewThread {
            let engine = FaultProxyEngine(
                listener: listener,
                upstream: upstream,
                connectionsLimit: connectionsLimit,
                control: control
            )
            engine.run()
        }
    }

    deinit { stop() }

    /// What happens to connections; may be set from any thread, and holds from the next byte on.
    public var mode: Mode {
        get { control.state.withLock { $0.mode } }
        set {
            control.state.withLock { $0.mode = newValue }
            control.wake()
        }
    }

    /// Connections accepted so far.
    public var connectionsAccepted: Int { control.state.withLock { $0.accepted } }

    /// Connections that clients have open.
    public var connectionsOpen: Int { control.state.withLock { $0.open } }

    /// Whether the proxy's thread has closed everything after ``stop()``.
    public var hasEnded: Bool { control.state.withLock { $0.hasEnded } }

    /// Closes the port and resets every connection, soon.
    public func stop() {
        control.state.withLock { $0.isStopped = true }
        control.wake()
    }
}

/// An IPv4 address and port.
struct SocketAddress: Sendable {
    private var raw = sockaddr_in()

    init?(_ address: String, port: UInt16) {
        raw.sin_family = sa_family_t(AF_INET)
        raw.sin_port = port.bigEndian
        guard inet_pton(AF_INET, address, &raw.sin_addr) == 1 else { return nil }
    }

    /// Begins a connection; the result shows when the socket is writable.
    func connect() -> Int32 {
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let descriptor = socket(AF_INET, kind, 0)
        guard descriptor >= 0 else { return -1 }
        let result = withUnsafePointer(to: raw) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        if result == 0 || errno == EINPROGRESS { return descriptor }
        close(descriptor)
        return -1
    }

    /// A listener on a free port of loopback.
    static func listen() throws(EventLoopError) -> (descriptor: Int32, port: UInt16) {
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let descriptor = socket(AF_INET, kind, 0)
        if descriptor < 0 { throw EventLoopError(operation: "socket", errno: errno) }
        var raw = sockaddr_in()
        raw.sin_family = sa_family_t(AF_INET)
        raw.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isListening = withUnsafeMutablePointer(to: &raw) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, size) == 0 && Glibc.listen(descriptor, 512) == 0
                    && getsockname(descriptor, $0, &size) == 0
            }
        }
        if isListening { return (descriptor, UInt16(bigEndian: raw.sin_port)) }
        let reason = errno
        close(descriptor)
        throw EventLoopError(operation: "listen", errno: reason)
    }
}
