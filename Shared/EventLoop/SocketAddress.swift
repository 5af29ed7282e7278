internal import CLinux
internal import Glibc

/// An Internet address and port; IPv4 is kept in its IPv6-mapped form (RFC 4291, 2.5.5.2).
public struct SocketAddress: Sendable, Hashable, CustomStringConvertible {
    /// The first eight bytes of the address, most significant first.
    let high: UInt64
    /// The last eight bytes of the address, most significant first.
    let low: UInt64
    /// The port, 0 where none is meant.
    public let port: Int

    private static let mappedPrefix: UInt64 = 0x0000_ffff_0000_0000

    /// 127.0.0.1, without a port.
    public static let loopback = SocketAddress(high: 0, low: mappedPrefix | 0x7f00_0001, port: 0)

    init(high: UInt64, low: UInt64, port: Int) {
        self.high = high
        self.low = low
        self.port = port
    }

    /// Whether this is an IPv4 address.
    public var isIPv4: Bool {
        high == 0 && low & 0xffff_ffff_0000_0000 == SocketAddress.mappedPrefix
    }

    /// Whether only this machine can be meant: 127/8 or ::1.
    public var isLoopback: Bool {
        isIPv4 ? (low >> 24) & 0xff == 127 : high == 0 && low == 1
    }

    /// What counts as one peer: an IPv4 address, or an IPv6 /64, as whoever has one of its addresses
    /// has them all.
    public var peerGroup: SocketAddress {
        SocketAddress(high: high, low: isIPv4 ? low : 0, port: 0)
    }

    /// The address as text, without the port.
    public var host: String {
        let family = isIPv4 ? AF_INET : AF_INET6
        let bytes = (0..<16).map { index in
            UInt8(truncatingIfNeeded: (index < 8 ? high : low) >> (56 - 8 * (index % 8)))
        }
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        let source = Array(isIPv4 ? bytes[12...] : bytes[...])
        guard inet_ntop(family, source, &text, socklen_t(text.count)) != nil else { return "?" }
        return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    /// `host:port`, with an IPv6 host in brackets.
    public var description: String {
        isIPv4 ? "\(host):\(port)" : "[\(host)]:\(port)"
    }

    /// Looks a host up, numeric or by name; waits on the helper thread, never on the loop.
    ///
    /// - Parameter host: a name, an address, or `"*"` for every local address.
    /// - Throws: `EventLoopError` with operation `getaddrinfo` when there is no such host, or
    ///   `Offload.Full`.
    public static func resolve(host: String, port: Int) async throws -> SocketAddress {
        if let address = SocketAddress(numeric: host, port: port) { return address }
        return try await Offload.blocking.run {
            try lookUp(host: host, port: port, flags: AI_ADDRCONFIG)
        }
    }

    /// An address from digits, nil for a name.
    public init?(numeric host: String, port: Int) {
        let flags = AI_NUMERICHOST
        guard
            let address = try? SocketAddress.lookUp(
                host: host == "*" ? "::" : host,
                port: port,
                flags: flags
            )
        else { return nil }
        self = address
    }

    private static func lookUp(
        host: String,
        port: Int,
        flags: Int32
    ) throws(EventLoopError) -> SocketAddress {
        var hints = addrinfo()
        hints.ai_flags = flags
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        let result = getaddrinfo(host, nil, &hints, &found)
        guard result == 0, let first = found else {
            throw EventLoopError(operation: "getaddrinfo", errno: EADDRNOTAVAIL)
        }
        defer { freeaddrinfo(found) }
        var storage = sockaddr_storage()
        memcpy(&storage, first.pointee.ai_addr, Int(first.pointee.ai_addrlen))
        guard let address = SocketAddress(storage) else {
            throw EventLoopError(operation: "getaddrinfo", errno: EAFNOSUPPORT)
        }
        return SocketAddress(high: address.high, low: address.low, port: port)
    }

    // MARK: The kernel's form

    init?(_ storage: sockaddr_storage) {
        var storage = storage
        switch Int32(storage.ss_family) {
        case AF_INET:
            let v4 = withUnsafeBytes(of: &storage) { $0.loadUnaligned(as: sockaddr_in.self) }
            high = 0
            low = SocketAddress.mappedPrefix | UInt64(UInt32(bigEndian: v4.sin_addr.s_addr))
            port = Int(UInt16(bigEndian: v4.sin_port))
        case AF_INET6:
            let v6 = withUnsafeBytes(of: &storage) { $0.loadUnaligned(as: sockaddr_in6.self) }
            let halves = withUnsafeBytes(of: v6.sin6_addr) { bytes in
                (
                    bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self),
                    bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
                )
            }
            high = UInt64(bigEndian: halves.0)
            low = UInt64(bigEndian: halves.1)
            port = Int(UInt16(bigEndian: v6.sin6_port))
        default:
            return nil
        }
    }

    /// Calls `body` with the kernel's form of the address.
    func withKernelForm<Result>(
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        var storage = sockaddr_storage()
        let size = fill(&storage)
        return withUnsafePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, size) }
        }
    }

    private func fill(_ storage: inout sockaddr_storage) -> socklen_t {
        if isIPv4 {
            var v4 = sockaddr_in()
            v4.sin_family = sa_family_t(AF_INET)
            v4.sin_port = UInt16(truncatingIfNeeded: port).bigEndian
            v4.sin_addr.s_addr = UInt32(truncatingIfNeeded: low).bigEndian
            withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: v4, as: sockaddr_in.self) }
            return socklen_t(MemoryLayout<sockaddr_in>.size)
        }
        var v6 = sockaddr_in6()
        v6.sin6_family = sa_family_t(AF_INET6)
        v6.sin6_port = UInt16(truncatingIfNeeded: port).bigEndian
        withUnsafeMutableBytes(of: &v6.sin6_addr) { bytes in
            bytes.storeBytes(of: high.bigEndian, toByteOffset: 0, as: UInt64.self)
            bytes.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
        }
        withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: v6, as: sockaddr_in6.self) }
        return socklen_t(MemoryLayout<sockaddr_in6>.size)
    }
}
