public import struct FoundationEssentials.UUID

/// Ids as the API writes them and as stores hold them (RFC 9562).
///
/// Foundation's own way goes through `snprintf` and `sscanf`, which cost several times as much.
extension UUID {
    /// 36 characters, lower case.
    public var text: String {
        let id = uuid
        func high(_ byte: UInt8) -> UInt8 { UUID.digit(byte >> 4) }
        func low(_ byte: UInt8) -> UInt8 { UUID.digit(byte & 15) }
        let dash = UInt8(ascii: "-")
        // Spelt out: a loop over it costs five times as much.
        let text: [36 of UInt8] = [
            high(id.0), low(id.0), high(id.1), low(id.1),
            high(id.2), low(id.2), high(id.3), low(id.3), dash,
            high(id.4), low(id.4), high(id.5), low(id.5), dash,
            high(id.6), low(id.6), high(id.7), low(id.7), dash,
            high(id.8), low(id.8), high(id.9), low(id.9), dash,
            high(id.10), low(id.10), high(id.11), low(id.11), high(id.12), low(id.12),
            high(id.13), low(id.13), high(id.14), low(id.14), high(id.15), low(id.15),
        ]
        guard let characters = try? UTF8Span(validating: text.span) else {
            preconditionFailure("digits and dashes are valid UTF-8")
        }
        return String(copying: characters)
    }

    /// Reads 36 characters of either case; `nil` when they are no id.
    public init?(text: String) {
        self.init(characters: text.utf8.span)
    }

    /// Reads 36 characters of either case; `nil` when they are no id.
    public init?(characters: Span<UInt8>) {
        guard characters.count == 36 else { return nil }
        var halves: (high: UInt64, low: UInt64) = (0, 0)
        for place in characters.indices {
            switch place {
            case 8, 13, 18, 23:
                guard characters[place] == UInt8(ascii: "-") else { return nil }
            default:
                guard let value = UUID.value(characters[place]) else { return nil }
                if place < 18 {
                    halves.high = halves.high << 4 | UInt64(value)
                } else {
                    halves.low = halves.low << 4 | UInt64(value)
                }
            }
        }
        self.init(halves.high, halves.low)
    }

    /// An id of its two halves of 64 bits.
    public init(_ high: UInt64, _ low: UInt64) {
        func byte(_ half: UInt64, _ shift: UInt64) -> UInt8 {
            UInt8(truncatingIfNeeded: half >> shift)
        }
        self.init(
            uuid: (
                byte(high, 56), byte(high, 48), byte(high, 40), byte(high, 32),
                byte(high, 24), byte(high, 16), byte(high, 8), byte(high, 0),
                byte(low, 56), byte(low, 48), byte(low, 40), byte(low, 32),
                byte(low, 24), byte(low, 16), byte(low, 8), byte(low, 0)
            )
        )
    }

    private static func digit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
    }

    private static func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
