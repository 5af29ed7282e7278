/// Which of a cluster's slots a key is in (Redis Cluster specification, "Key distribution model").
public enum RedisKeySlot {
    /// How many slots a cluster has.
    public static let count = 16_384

    /// The slot of `key`, as `CLUSTER KEYSLOT` tells it.
    public static func slot(of key: String) -> Int {
        Int(tagBytes(of: key.utf8).map(crc16) ?? crc16(key.utf8)) % count
    }

    /// The slot of a key as a command has it.
    static func slot(of key: RedisArgument) -> Int {
        switch key {
        case .string(let text): slot(of: text)
        case .int(let number): slot(of: String(number))
        case .bytes(let bytes): Int(crc16(tagBytes(of: bytes) ?? bytes[...])) % count
        }
    }

    /// What stands in the key's first braces; nil when there are none, or nothing in them.
    public static func tag(of key: String) -> String? {
        tagBytes(of: key.utf8).map { String(decoding: $0, as: UTF8.self) }
    }

    /// Whether those keys that carry a tag all lie in one slot.
    ///
    /// Keys without a tag are left out: they belong to commands of one key.
    public static func shareSlot(_ keys: [String]) -> Bool {
        var first: (key: String, tag: Substring.UTF8View)?
        for key in keys {
            guard let tag = tagBytes(of: key.utf8) else { continue }
            guard let known = first else {
                first = (key, tag)
                continue
            }
            // Equal tags are the rule, and seen at once.
            if !tag.elementsEqual(known.tag), slot(of: key) != slot(of: known.key) { return false }
        }
        return true
    }

    private static func tagBytes<Bytes: Collection<UInt8>>(
        of bytes: Bytes
    ) -> Bytes.SubSequence? {
        guard let open = bytes.firstIndex(of: UInt8(ascii: "{")) else { return nil }
        let inside = bytes[bytes.index(after: open)...]
        guard let close = inside.firstIndex(of: UInt8(ascii: "}")), close > inside.startIndex
        else { return nil }
        return inside[..<close]
    }

    /// CRC-16/XMODEM: polynomial 0x1021, start 0, no reflection.
    private static func crc16(_ bytes: some Sequence<UInt8>) -> UInt16 {
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
