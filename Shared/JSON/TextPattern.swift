/// A form that a text has to have, with the words that tell somebody so.
public struct TextPattern: Sendable {
    /// What a text of another form is told: "must be …".
    public let detail: String
    /// The same as a regular expression (ECMA-262), for the published schema; nil when there is none.
    let expression: String?
    private let isMatch: @Sendable (String) -> Bool

    /// A pattern that `isMatch` decides.
    public init(
        _ detail: String,
        expression: String? = nil,
        isMatch: @escaping @Sendable (String) -> Bool
    ) {
        self.detail = detail
        self.expression = expression
        self.isMatch = isMatch
    }

    /// Whether `text` has this form.
    public func matches(_ text: String) -> Bool { isMatch(text) }

    /// The form of every code (of a tenant, a channel, a template): `[a-z0-9][a-z0-9_.-]{0,62}`.
    public static let code = TextPattern(
        "must be 1 to 63 characters of a-z, 0-9, '_', '.' and '-', the first a letter or digit",
        expression: "^[a-z0-9][a-z0-9_.-]{0,62}$"
    ) { text in
        guard let first = text.utf8.first, text.utf8.count <= 63, isCodeStart(first) else {
            return false
        }
        return text.utf8.allSatisfy { isCodeStart($0) || "_.-".utf8.contains($0) }
    }

    /// Text without line breaks and other control characters.
    public static let singleLine = TextPattern(
        "must not contain control characters",
        expression: #"^[^\u0000-\u001f\u007f-\u009f]*$"#
    ) { text in
        text.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }
    }

    /// A time of day, such as 22:00.
    public static let clock = TextPattern(
        "must be a time of day like 22:00",
        expression: "^([01][0-9]|2[0-3]):[0-5][0-9]$"
    ) { text in
        let parts = text.utf8.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
        // Digits alone: a sign would make a number as well.
        guard parts.count == 2,
            parts.allSatisfy({ $0.count == 2 && $0.allSatisfy { (0x30...0x39).contains($0) } }),
            let hour = Int(Substring(parts[0])), let minute = Int(Substring(parts[1]))
        else { return false }
        return hour <= 23 && minute <= 59
    }

    private static func isCodeStart(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        default: false
        }
    }
}
