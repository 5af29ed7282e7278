internal import FoundationEssentials

/// A text that is an order to the bot, not a message to it.
public enum ControlWord: String, Sendable, CaseIterable {
    /// Be silent: drops what waits and cancels what runs.
    case stop
    /// Let a person take over.
    case agent

    /// The order that `text` is.
    ///
    /// `nil` for everything else. Case, surrounding space and a closing `.` or `!` do not matter,
    /// and neither does a leading `/`.
    public init?(_ text: String) {
        // The longest word with its ornaments; a longer text need not be looked at.
        guard text.utf8.count <= 64 else { return nil }
        var word = text.trimmingCharacters(while: \.isWhitespace)
        if word.hasPrefix("/") { word.removeFirst() }
        while let last = word.last, last == "." || last == "!" { word.removeLast() }
        self.init(rawValue: word.lowercased())
    }
}

/// The title of a thread, made from its first message.
public enum ThreadTitle {
    /// The longest title, in characters.
    public static let lengthMax = 60
    /// The title of a thread whose first message says nothing that could be one.
    public static let untitled = "New thread"

    /// The first line with words in it, cut at a word's end, with `…` where something was left out.
    public static func make(from text: String) -> String {
        let lines = text.split(whereSeparator: \.isNewline)
        let words = lines.lazy.map { $0.split(whereSeparator: \.isWhitespace) }
            .first { line in line.contains { $0.contains { $0.isLetter || $0.isNumber } } }
        guard let words else { return untitled }
        var title = ""
        for word in words {
            let candidate = title.isEmpty ? String(word) : "\(title) \(word)"
            guard candidate.count <= lengthMax else {
                return title.isEmpty
                    ? candidate.prefix(lengthMax - 1) + "…"
                    : title.prefix(lengthMax - 1) + "…"
            }
            title = candidate
        }
        return title
    }
}

extension String {
    /// The text without the characters at both ends that `isDropped` names.
    fileprivate func trimmingCharacters(while isDropped: (Character) -> Bool) -> String {
        let start = drop(while: isDropped)
        guard let last = start.lastIndex(where: { !isDropped($0) }) else { return "" }
        return String(start[...last])
    }
}
