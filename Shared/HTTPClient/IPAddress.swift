internal import CLibCurl

/// An IPv4 or IPv6 address and what kind of network it belongs to.
struct IPAddress: Hashable {
    /// 4 or 16, most significant first.
    let bytes: [UInt8]

    init?(bytes: [UInt8]) {
        guard bytes.count == 4 || bytes.count == 16 else { return nil }
        self.bytes = bytes
    }

    /// Reads the usual text form; `nil` for anything else, odd IPv4 forms included.
    init?(_ text: String) {
        var bytes = [UInt8](repeating: 0, count: 16)
        if inet_pton(AF_INET, text, &bytes) == 1 {
            self.bytes = Array(bytes[..<4])
        } else if inet_pton(AF_INET6, text, &bytes) == 1 {
            self.bytes = bytes
        } else {
            return nil
        }
    }

    /// Whether it is an address on the public internet, by the registries of special-purpose
    /// addresses (RFC 6890).
    var isPublic: Bool {
        if bytes.count == 4 {
            return !IPAddress.special4.contains { $0.contains(bytes) }
        }
        // Global unicast is 2000::/3 only. That leaves out ::, ::1, mapped and translated IPv4
        // (::ffff:0:0/96, 64:ff9b::/96), fc00::/7, fe80::/10 and ff00::/8.
        return bytes[0] & 0xE0 == 0x20 && !IPAddress.special6.contains { $0.contains(bytes) }
    }

    private struct Network {
        let prefix: [UInt8]
        let length: Int

        init(_ prefix: UInt8..., length: Int) {
            self.prefix = prefix
            self.length = length
        }

        func contains(_ address: [UInt8]) -> Bool {
            for index in prefix.indices {
                let bits = min(8, length - index * 8)
                let mask = UInt8(truncatingIfNeeded: 0xFF00 >> bits)
                if address[index] & mask != prefix[index] & mask { return false }
            }
            return true
        }
    }

    private static let special4 = [
        Network(0, length: 8),  // this network
        Network(10, length: 8),  // private
        Network(100, 64, length: 10),  // shared by carriers
        Network(127, length: 8),  // loopback
        Network(169, 254, length: 16),  // link-local, metadata services of clouds
        Network(172, 16, length: 12),  // private
        Network(192, 0, 0, length: 24),  // protocol assignments
        Network(192, 0, 2, length: 24),  // documentation
        Network(192, 88, 99, length: 24),  // 6to4 relays
        Network(192, 168, length: 16),  // private
        Network(198, 18, length: 15),  // benchmarks
        Network(198, 51, 100, length: 24),  // documentation
        Network(203, 0, 113, length: 24),  // documentation
        Network(224, length: 4),  // multicast
        Network(240, length: 4),  // reserved, broadcast
    ]

    private static let special6 = [
        Network(0x20, 0x01, 0x00, length: 23),  // protocol assignments, Teredo
        Network(0x20, 0x01, 0x0D, 0xB8, length: 32),  // documentation
        Network(0x20, 0x02, length: 16),  // 6to4: holds an IPv4 address
        Network(0x3F, 0xFF, 0x00, length: 20),  // documentation
    ]
}
