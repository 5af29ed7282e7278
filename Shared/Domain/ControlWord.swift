internal import FoundationEssentials

/// A text that is an order to the bot, not a message to it.
public enum ControlWord: String, Sendable, CaseIterable {
    /// Be silent: drops what waits and cancels what runs.
    case stop
    /// Let a person take over.
    case agent
}

/// The words that are orders to a bot: the built-in ones and a tenant's own.
public struct ControlWords: Sendable, Hashable {
    /// The longest word, in bytes of UTF-8.
    public static let bytesMax = 64
    /// The most words of a tenant for one order.
    public static let countMax = 50

    private var meanings: [String: ControlWord]

    /// The built-in words, which always hold, and further ones.
    public init(stop: [String] = [], agent: [String] = []) {
        meanings = [:]
        for word in stop { meanings[ControlWords.normalized(word)] = .stop }
        for word in agent { meanings[ControlWords.normalized(word)] = .agent }
        for word in ControlWord.allCases { meanings[word.rawValue] = word }
        // A text of nothing but ornaments is no order.
        meanings[""] = nil
    }

    /// Whether a text is short enough to be an order at all.
    public static func mayBe(_ text: String) -> Bool { text.utf8.count <= bytesMax }

    /// The order that `text` is.
    ///
    /// `nil` for everything else. Case, surrounding space and a closing `.` or `!` do not matter,
    /// and neither does a leading `/`.
    public func meaning(of text: String) -> ControlWord? {
        ControlWords.mayBe(text) ? meanings[ControlWords.normalized(text)] : nil
    }

    private static func normalized(_ text: String) -> String {
        var word = text.trimmingCharacters(while: \.isWhitespace)
        if word.hasPrefix("/") { word.removeFirst() }
        while let last = word.last, last == "." || last == "!" { word.removeLast() }
        return word.lowercased()
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
        if isTitle(text) { return text }
        let lines = text.unicodeScalars.split(whereSeparator: \.endsLine)
        let words = lines.lazy.map { $0.split(whereSeparator: \.isSpace) }
            .first { line in line.contains { $0.contains(where: \.isReadable) } }
        guard let words else { return untitled }
        var title = ""
        for word in words {
            let candidate = title.isEmpty ? String(word) : title + " " + String(word)
            // A character is at least a byte: most titles need no count of characters.
            guard candidate.utf8.count <= lengthMax || candidate.count <= lengthMax else {
                return title.isEmpty
                    ? candidate.prefix(lengthMax - 1) + "…"
                    : title.prefix(lengthMax - 1) + "…"
            }
            title = candidate
        }
        return title
    }

    /// Whether a text is its own title: one short line of ASCII with single spaces between words.
    ///
    /// Most first messages are, and are found out without cutting them up.
    private static func isTitle(_ text: String) -> Bool {
        let bytes = text.utf8.span
        guard bytes.count <= lengthMax else { return false }
        var isBehindWord = false
        var isReadable = false
        for index in bytes.indices {
            let byte = bytes[index]
            guard (0x20...0x7e).contains(byte), byte != 0x20 || isBehindWord else { return false }
            isBehindWord = byte != 0x20
            isReadable = isReadable || Unicode.Scalar(byte).isReadable
        }
        return isBehindWord && isReadable
    }
}

/// What Swift's characters say of themselves, found out quickly for ASCII.
extension Unicode.Scalar {
    fileprivate var endsLine: Bool {
        isASCII ? (0xa...0xd).contains(value) : [0x85, 0x2028, 0x2029].contains(value)
    }

    fileprivate var isSpace: Bool {
        isASCII ? value == 0x20 || (0x9...0xd).contains(value) : properties.isWhitespace
    }

    fileprivate var isReadable: Bool {
        if isASCII {
            return (0x30...0x39).contains(value) || (0x41...0x5a).contains(value)
                || (0x61...0x7a).contains(value)
        }
        return properties.isAlphabetic || properties.numericType != nil
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
