/// Checks UTF-8 that comes in pieces, and finds the first byte that cannot be (RFC 3629).
struct WebSocketUTF8: Sendable {
    /// How many bytes the character in progress still needs.
    private var missing = 0
    /// What its next byte may be.
    private var next: ClosedRange<UInt8> = 0x80...0xbf

    /// Whether no character is in progress.
    var isComplete: Bool { missing == 0 }

    /// Takes a byte; false when it cannot stand here.
    mutating func take(_ byte: UInt8) -> Bool {
        guard missing == 0 else {
            guard next.contains(byte) else { return false }
            next = 0x80...0xbf
            missing -= 1
            return true
        }
        switch byte {
        case 0x00...0x7f: return true
        case 0xc2...0xdf: missing = 1
        case 0xe0...0xef:
            missing = 2
            // No overlong forms, no surrogates.
            if byte == 0xe0 { next = 0xa0...0xbf }
            if byte == 0xed { next = 0x80...0x9f }
        case 0xf0...0xf4:
            missing = 3
            // No overlong forms, nothing above U+10FFFF.
            if byte == 0xf0 { next = 0x90...0xbf }
            if byte == 0xf4 { next = 0x80...0x8f }
        default: return false
        }
        return true
    }
}
