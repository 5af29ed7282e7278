/// A set of ASCII bytes as two words: membership costs no memory access.
struct ByteSet: Sendable {
    let low: UInt64
    let high: UInt64

    @inline(__always)
    func contains(_ byte: UInt8) -> Bool {
        let word = byte & 64 == 0 ? low : high
        return byte < 128 && (word &>> UInt64(byte & 63)) & 1 == 1
    }

    /// Token bytes (RFC 9110 section 5.6.2).
    static let token = ByteSet(low: 0x03ff_6cfa_0000_0000, high: 0x57ff_ffff_c7ff_fffe)
    /// Visible bytes but `%`, `?` and `#`, which need a closer look in a target.
    static let plainTarget = ByteSet(low: 0x7fff_ffd6_0000_0000, high: 0x7fff_ffff_ffff_ffff)
    /// Hexadecimal digits of both cases.
    static let hex = ByteSet(low: 0x03ff_0000_0000_0000, high: 0x0000_007e_0000_007e)
    /// Bytes of a registered name (RFC 3986 section 3.2.2) but `%` and the comma: a comma makes
    /// a list of one name, and no real name holds it.
    static let registeredName = ByteSet(low: 0x2bff_6fd2_0000_0000, high: 0x47ff_fffe_87ff_fffe)
    /// Bytes that stand for themselves in a quoted string (RFC 9110 section 5.6.4).
    static let quotedText = ByteSet(low: 0xffff_fffb_0000_0200, high: 0x7fff_ffff_efff_ffff)
}

extension UInt8 {
    static let tab: UInt8 = 0x09
    static let lineFeed: UInt8 = 0x0a
    static let carriageReturn: UInt8 = 0x0d
    static let space: UInt8 = 0x20
    static let quote: UInt8 = 0x22
    static let hash: UInt8 = 0x23
    static let percent: UInt8 = 0x25
    static let comma: UInt8 = 0x2c
    static let slash: UInt8 = 0x2f
    static let zero: UInt8 = 0x30
    static let colon: UInt8 = 0x3a
    static let semicolon: UInt8 = 0x3b
    static let equals: UInt8 = 0x3d
    static let question: UInt8 = 0x3f
    static let backslash: UInt8 = 0x5c

    @inline(__always)
    var isBlank: Bool { self == .space || self == .tab }

    @inline(__always)
    var isDigit: Bool { self &- .zero < 10 }

    /// Whether a field value may hold the byte: anything but control characters other than tab.
    @inline(__always)
    var isFieldContent: Bool { (self >= .space && self != 0x7f) || self == .tab }

    /// The byte with `A`–`Z` made lower case.
    @inline(__always)
    var lowercased: UInt8 { self &- 0x41 < 26 ? self | 0x20 : self }

    /// The value of a hexadecimal digit.
    @inline(__always)
    var hexValue: UInt8? {
        if isDigit { return self &- .zero }
        let letter = self | 0x20
        return letter &- 0x61 < 6 ? letter &- 0x57 : nil
    }
}
