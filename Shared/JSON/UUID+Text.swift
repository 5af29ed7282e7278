public import struct FoundationEssentials.UUID

extension UUID {
    /// The id as the API writes it and as stores hold it: 36 characters, lower case (RFC 9562).
    ///
    /// `uuidString` goes through `snprintf`: with `lowercased()` it costs several times as much.
    public var text: String {
        let id = uuid
        let bytes: [16 of UInt8] = [
            id.0, id.1, id.2, id.3, id.4, id.5, id.6, id.7,
            id.8, id.9, id.10, id.11, id.12, id.13, id.14, id.15,
        ]
        var text: [UInt8] = []
        text.reserveCapacity(36)
        for index in bytes.indices {
            if index == 4 || index == 6 || index == 8 || index == 10 {
                text.append(UInt8(ascii: "-"))
            }
            text.append(UUID.digit(bytes[index] >> 4))
            text.append(UUID.digit(bytes[index] & 15))
        }
        return String(decoding: text, as: UTF8.self)
    }

    private static func digit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
    }
}
