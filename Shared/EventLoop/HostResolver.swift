internal import CLinux
internal import Glibc

/// Names to addresses, off the loop: the C libraries would look them up blocking.
public enum HostResolver {
    /// The numeric addresses of `host`, in the system's order of preference; an address is its own.
    ///
    /// - Throws: ``HostResolutionError``, or `Offload.Full`.
    public static func resolve(_ host: String) async throws -> [String] {
        if isNumeric(host) { return [host] }
        return try await Offload.blocking.run { try lookUp(host) }
    }

    /// Whether `host` is an IPv4 or IPv6 address already.
    public static func isNumeric(_ host: String) -> Bool {
        var four = in_addr()
        var six = in6_addr()
        return inet_pton(AF_INET, host, &four) == 1 || inet_pton(AF_INET6, host, &six) == 1
    }

    private static func lookUp(_ host: String) throws -> [String] {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        let status = getaddrinfo(host, nil, &hints, &found)
        guard status == 0 else {
            throw HostResolutionError(host: host, reason: String(cString: gai_strerror(status)))
        }
        defer { freeaddrinfo(found) }
        var addresses: [String] = []
        var next = found
        while let entry = next?.pointee {
            if let address = numericName(of: entry), !addresses.contains(address) {
                addresses.append(address)
            }
            next = entry.ai_next
        }
        guard !addresses.isEmpty else {
            throw HostResolutionError(host: host, reason: "no address")
        }
        return addresses
    }

    private static func numericName(of entry: addrinfo) -> String? {
        var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        let status = getnameinfo(
            entry.ai_addr,
            entry.ai_addrlen,
            &text,
            socklen_t(text.count),
            nil,
            0,
            NI_NUMERICHOST
        )
        guard status == 0 else { return nil }
        return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}

/// A name without an address.
public struct HostResolutionError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The name that was asked for.
    public let host: String
    /// The system's words for the failure.
    public let reason: String

    /// A failure to find `host`.
    public init(host: String, reason: String) {
        self.host = host
        self.reason = reason
    }

    /// The name and the reason.
    public var description: String { "\(host): \(reason)" }
}
