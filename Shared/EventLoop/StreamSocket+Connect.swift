internal import CLinux
internal import Glibc

extension StreamSocket {
    /// How long a silent peer is trusted before the kernel asks whether it is there, in seconds.
    private static let keepAliveIdle: Int32 = 15
    /// The kernel's pause between two such questions, in seconds.
    private static let keepAlivePause: Int32 = 5
    /// So many questions without an answer end the connection.
    private static let keepAliveProbes: Int32 = 3

    /// Begins to connect to a numeric address; the first readiness is the outcome, which
    /// ``connectFailure()`` tells.
    ///
    /// Small writes leave at once, and the kernel finds out when the peer is gone.
    ///
    /// - Throws: `EventLoopError` when the address is none or the kernel refuses at once.
    public static func connecting(
        toHost host: String,
        port: Int
    ) throws(EventLoopError) -> StreamSocket {
        var hints = addrinfo()
        hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        // What looked the host up may have named an interface too (fe80::1%eth0).
        guard getaddrinfo(host, "\(port)", &hints, &found) == 0, let first = found?.pointee else {
            throw EventLoopError(operation: "getaddrinfo", errno: EADDRNOTAVAIL)
        }
        defer { freeaddrinfo(found) }
        var storage = sockaddr_storage()
        memcpy(&storage, first.ai_addr, Int(first.ai_addrlen))
        let made = try opened(first.ai_family, peer: SocketAddress(storage) ?? .loopback)
        made.set(Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        made.set(SOL_SOCKET, SO_KEEPALIVE, 1)
        made.set(Int32(IPPROTO_TCP), TCP_KEEPIDLE, keepAliveIdle)
        made.set(Int32(IPPROTO_TCP), TCP_KEEPINTVL, keepAlivePause)
        made.set(Int32(IPPROTO_TCP), TCP_KEEPCNT, keepAliveProbes)
        try made.begin(first.ai_addr, first.ai_addrlen)
        return made
    }

    /// Begins to connect to a socket in the file system, whose ``peer`` counts as the loopback.
    ///
    /// - Throws: `EventLoopError` when the kernel refuses at once, or the path is too long.
    public static func connecting(toPath path: String) throws(EventLoopError) -> StreamSocket {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        // The kernel wants a closing zero.
        guard path.utf8.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw EventLoopError(operation: "connect", errno: ENAMETOOLONG)
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let made = try opened(AF_UNIX, peer: .loopback)
        try withUnsafePointer(to: &address) { pointer throws(EventLoopError) in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                form throws(EventLoopError) in
                try made.begin(form, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        return made
    }

    /// Why connecting failed; nil when the connection stands.
    public func connectFailure() -> EventLoopError? {
        var failure: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        guard getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &failure, &size) == 0 else {
            return EventLoopError(operation: "getsockopt", errno: errno)
        }
        return failure == 0 ? nil : EventLoopError(operation: "connect", errno: failure)
    }

    private static func opened(
        _ family: Int32,
        peer: SocketAddress
    ) throws(EventLoopError) -> StreamSocket {
        let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let descriptor = socket(family, type, 0)
        guard descriptor >= 0 else { throw EventLoopError(operation: "socket", errno: errno) }
        return StreamSocket(descriptor: descriptor, peer: peer)
    }

    private func begin(
        _ address: UnsafePointer<sockaddr>,
        _ size: socklen_t
    ) throws(EventLoopError) {
        // An interrupted connect goes on by itself (connect(2)).
        guard connect(descriptor, address, size) == 0 || [EINPROGRESS, EINTR].contains(errno) else {
            throw EventLoopError(operation: "connect", errno: errno)
        }
    }

    /// A socket without the option works all the same.
    private func set(_ level: Int32, _ option: Int32, _ value: Int32) {
        var value = value
        _ = setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
    }
}
