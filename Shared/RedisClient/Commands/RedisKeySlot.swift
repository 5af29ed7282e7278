/// Which of a cluster's slots a key is in (Redis Cluster specification, "Key distribution model").
public enum RedisKeySlot {
    /// How many slots a cluster has.
    public static let count = 16_384

    /// The slot of `key`, as `CLUSTER KEYSLOT` tells it.
    public static func slot(of key: String) -> Int {
        let bytes = Array(key.utf8)
        let hashed = tagRange(in: bytes).map { bytes[$0] } ?? bytes[...]
        return Int(crc16(hashed)) % count
    }

    /// What stands in the key's first braces; nil when there are none, or nothing in them.
    public static func tag(of key: String) -> String? {
        let bytes = Array(key.utf8)
        return tagRange(in: bytes).map { String(decoding: bytes[$0], as: UTF8.self) }
    }

    /// Whether those keys that carry a tag all lie in one slot.
    ///
    /// Keys without a tag are left out: they belong to commands of one key.
    public static func shareSlot(_ keys: [String]) -> Bool {
        var first: Int?
        for key in keys where key.utf8.contains(UInt8(ascii: "{")) && tag(of: key) != nil {
            let slot = slot(of: key)
            if let first, first != slot { return false }
            first = slot
        }
        return true
    }

    private static func tagRange(in bytes: [UInt8]) -> Range<Int>? {
        guard let open = bytes.firstIndex(of: UInt8(ascii: "{")),
            let close = bytes[open...].firstIndex(of: UInt8(ascii: "}")), close > open + 1
        else { return nil }
        return open + 1..<close
    }

    /// CRC-16/XMODEM: polynomial 0x1021, start 0, no reflection.
    private static func crc16(_ bytes: ArraySlice<UInt8>) -> UInt16 {
        bytes.reduce(0) { sum, byte in
            (sum << 8) ^ table[Int(UInt8(sum >> 8) ^ byte)]
        }
    }

    private static let table: [UInt16] = (0..<256).map { index in
        (0..<8).reduce(UInt16(index) << 8) { sum, _ in
            sum & 0x8000 != 0 ? (sum << 1) ^ 0x1021 : sum << 1
        }
    }
}
