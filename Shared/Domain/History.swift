/// One turn of a history that a caller brings along.
public struct HistoryTurn: Sendable, Hashable {
    /// Who spoke.
    public enum Role: String, Sendable, CaseIterable {
        /// The contact: `<USER>`.
        case user
        /// The bot, or a person on our side: `<BOT>`.
        case assistant

        var tag: String { self == .user ? "USER" : "BOT" }
    }

    /// Who spoke.
    public let role: Role
    /// What was said, without any markup of the form.
    public let content: String

    /// A turn.
    public init(role: Role, content: String) {
        self.role = role
        self.content = content
    }
}

/// Why a history was not taken.
public struct HistoryError: Error, Sendable, Hashable, CustomStringConvertible {
    /// Where, in bytes from the start of the text.
    public let offset: Int
    /// What is wrong there; holds no part of the text.
    public let reason: String

    /// The place and what is wrong.
    public var description: String { "at byte \(offset): \(reason)" }
}

/// The XML-like form of a history: `<USER>Hello</USER><br><BOT>Hi</BOT><br>`.
///
/// A pair counts only at the start of the text, after a newline or after `<br>`, and only if its
/// closing tag is followed by the end, a newline or `<br>`. Everything between is text, whatever it
/// looks like, with `&lt;`, `&gt;` and `&amp;` unescaped. What ``write(_:)`` made is read back
/// exactly, so text can never become a turn.
public enum History {
    /// The longest history, in bytes of UTF-8.
    public static let bytesMax = 64 * 1024
    /// The most turns.
    public static let turnsMax = 200

    /// What happens to what is not clearly a turn.
    public enum Mode: String, Sendable, CaseIterable {
        /// It is refused, with its place.
        case strict
        /// It is something that the user said.
        case lenient
    }

    /// Reads a history.
    ///
    /// - Throws: ``HistoryError`` for one over the limits or without a turn; in strict mode also
    ///   for text outside of a pair, unknown tags, a pair that does not end, and a tag of ours in
    ///   a text.
    public static func parse(
        _ text: String,
        mode: Mode
    ) throws(HistoryError) -> [HistoryTurn] {
        let bytes = Array(text.utf8)
        guard bytes.count <= bytesMax else {
            throw HistoryError(offset: bytesMax, reason: "more than \(bytesMax) bytes")
        }
        var parser = HistoryParser(bytes: bytes, mode: mode)
        return try parser.turns()
    }

    /// The text from which ``parse(_:mode:)`` reads the same turns.
    public static func write(_ turns: [HistoryTurn]) -> String {
        var text = ""
        for turn in turns {
            text += "<\(turn.role.tag)>"
            for scalar in turn.content.unicodeScalars {
                switch scalar {
                case "&": text += "&amp;"
                case "<": text += "&lt;"
                case ">": text += "&gt;"
                default: text.unicodeScalars.append(scalar)
                }
            }
            text += "</\(turn.role.tag)><br>"
        }
        return text
    }
}
