/// Hosts that the address guard lets through although they are not public (OUTBOUND_ALLOW_HOSTS).
///
/// For an allowed host and port every address will do, and http as well.
public struct AllowedHosts: Sendable, Hashable {
    /// No exception.
    public static let none = AllowedHosts(entries: [])

    private let entries: Set<String>

    private init(entries: Set<String>) {
        self.entries = entries
    }

    /// Reads a comma-separated list of `host:port`, or `host` for ports 80 and 443.
    ///
    /// An IPv6 address stands in brackets. Names are compared exactly, but for their case; there are
    /// no patterns. `nil` when an entry is malformed.
    public init?(parsing list: String) {
        var entries: Set<String> = []
        for part in list.split(separator: ",", omittingEmptySubsequences: true) {
            let entry = part.drop(while: { $0 == " " })
            let trimmed = entry.reversed().drop(while: { $0 == " " }).reversed()
            if trimmed.isEmpty { continue }
            guard let (host, port) = AllowedHosts.split(String(trimmed)) else { return nil }
            for port in port.map({ [$0] }) ?? [80, 443] {
                entries.insert(AllowedHosts.key(host, port))
            }
        }
        self.entries = entries
    }

    /// Whether the host is excepted at that port.
    public func allows(host: String, port: Int) -> Bool {
        !entries.isEmpty && entries.contains(AllowedHosts.key(host, port))
    }

    private static func key(_ host: String, _ port: Int) -> String {
        "\(host.lowercased()):\(port)"
    }

    private static func split(_ entry: String) -> (host: String, port: Int?)? {
        let name: Substring
        let rest: Substring
        if entry.hasPrefix("[") {
            guard let end = entry.firstIndex(of: "]"),
                IPAddress(String(entry[entry.index(after: entry.startIndex)..<end])) != nil
            else { return nil }
            name = entry[...end]
            rest = entry[entry.index(after: end)...]
        } else {
            name = entry.prefix { $0 != ":" }
            rest = entry[name.endIndex...]
            guard !name.isEmpty, name.utf8.allSatisfy(isHostByte) else { return nil }
        }
        if rest.isEmpty { return (String(name), nil) }
        guard rest.first == ":", let port = UInt16(rest.dropFirst()), port > 0 else { return nil }
        return (String(name), Int(port))
    }

    private static func isHostByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: "_"):
            true
        default: false
        }
    }
}
