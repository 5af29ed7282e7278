internal import Domain
internal import JSON
internal import Platform

/// Splits what a bot or an agent answers into messages that the channel's provider takes whole.
///
/// Lengths are counted in code points, as Slack counts them. A part ends where people would end it:
/// between paragraphs, else lines, else sentences, else words, and never inside of a character as it
/// is seen. A fenced block of code stays in one part where it fits into one; else each of its parts
/// is fenced.
enum AnswerParts {
    /// The longest message on channels of each kind, in code points; on others any length goes.
    ///
    /// Slack advises 4,000 and splits longer ones itself, which looks like duplicates.
    static let limits = ["slack": 3_900]

    /// The longest message on a channel of `kind`; `nil` where any length goes.
    static func limit(of kind: String) -> Int? { limits[kind] }

    /// The messages that `text` is where any one has at most `limit` code points, as the schema
    /// stores them.
    static func stored(_ text: String, limit: Int?) -> JSON {
        .array(
            split(text, limit: limit).map { part in
                let features = TextFeatures(part)
                return [
                    "text": .string(part), "terms": .string(features.packedTerms.hexadecimal),
                    "mentions": .array(features.mentions.map(JSON.string)),
                ]
            }
        )
    }

    /// The same for a channel whose kind only the schema knows: `any`, and by their names the kinds
    /// that do not take the text as one message.
    static func stored(_ text: String) -> JSON {
        var stored: JSONObject = ["any": self.stored(text, limit: nil)]
        for (kind, limit) in limits where text.unicodeScalars.count > limit {
            stored[kind] = self.stored(text, limit: limit)
        }
        return .object(stored)
    }

    /// The parts of `text`, in order; each has at most `limit` code points and is not blank.
    ///
    /// - Parameter limit: at least 64, or there would be no room for a fence.
    static func split(_ text: String, limit: Int?) -> [String] {
        guard let limit, text.unicodeScalars.count > limit else { return [text] }
        precondition(limit >= 64, "room for a fence")
        var parts: [String] = []
        var rest = text[...]
        /// The line that opened the block of code in which the rest begins.
        var fence: Substring?
        while true {
            let head = fence.map { $0 + "\n" } ?? ""
            let room = limit - head.unicodeScalars.count
            guard rest.unicodeScalars.count > room else {
                parts.append(head + rest)
                break
            }
            let borders = Borders(of: rest, room: room, limit: limit, fence: fence)
            let cut = borders.best()
            let tail = cut.fence == nil ? "" : "\n```"
            parts.append(trimmedAtEnd(head + rest[..<cut.index]) + tail)
            (rest, fence) = continued(rest[cut.index...], fence: cut.fence)
            if rest.isEmpty { break }
        }
        return parts.filter { !$0.allSatisfy(\.isWhitespace) }
    }

    /// The rest as the next part begins with it, and the line that opens its code.
    private static func continued(
        _ rest: Substring,
        fence: Substring?
    ) -> (Substring, Substring?) {
        guard let fence else { return (rest.drop(while: \.isWhitespace), nil) }
        // An indent in code belongs to it.
        let code = rest.drop(while: \.isNewline)
        let line = code.prefix { !$0.isNewline }
        guard Borders.isFence(line) else { return (code, Borders.opening(fence)) }
        // Nothing is left of the block but its end.
        let after = code.drop(while: { $0 == " " }).dropFirst(3)
        return (after.drop(while: \.isWhitespace), nil)
    }

    private static func trimmedAtEnd(_ text: String) -> String {
        guard let last = text.lastIndex(where: { !$0.isWhitespace }) else { return "" }
        return String(text[...last])
    }
}

/// Where a text may be cut so that its first part has at most so many code points.
private struct Borders {
    struct Cut {
        let index: Substring.Index
        /// The line that opened the block of code that is cut through.
        let fence: Substring?
    }

    /// From the best to the worst kind; the last of each kind in the text's first part.
    private var paragraph, line, sentence, word, codeLine: Substring.Index?
    /// Where the block of code begins that the first part's end is in, if it can be kept whole.
    private var beforeCode: Substring.Index?
    private var hard: Cut
    /// What comes before it is too short for a message of its own.
    private let middle: Substring.Index

    /// - Parameters:
    ///   - room: how many code points the first part may have.
    ///   - limit: how many a part may have that begins with nothing but itself.
    ///   - fence: the line that opened the block of code in which `text` begins.
    init(of text: Substring, room: Int, limit: Int, fence: Substring?) {
        let end = Borders.end(of: text, after: room)
        // In code there must be room for the fence that closes it.
        let codeEnd = Borders.end(of: text, after: room - 4)
        middle = Borders.end(of: text, after: room / 2)
        hard = Cut(index: end, fence: nil)
        var open = fence
        var opened: Substring.Index?
        var start = text.startIndex
        while start < end {
            let lineEnd =
                text.unicodeScalars[start...].firstIndex(where: Borders.endsLine) ?? text.endIndex
            let next = lineEnd < text.endIndex ? text.index(after: lineEnd) : lineEnd
            let content = text[start..<lineEnd]
            if Borders.isFence(content) {
                if open == nil, start > text.startIndex { line = start }
                codeLine = nil
                (open, opened) = open == nil ? (content, start) : (nil, nil)
            } else if open == nil {
                note(content, upTo: end)
            }
            if next <= end, next > text.startIndex { noteLine(next, in: text, open, codeEnd) }
            start = next
        }
        if open != nil { hard = Cut(index: codeEnd, fence: open) }
        if open != nil, let opened, opened > text.startIndex {
            let length = text[opened...].unicodeScalars.count
            if length <= limit || Borders.closes(text[opened...], within: limit) {
                beforeCode = opened
            }
        }
    }

    func best() -> Cut {
        if let beforeCode { return Cut(index: beforeCode, fence: nil) }
        for border in [paragraph, line, sentence] {
            if let border, border > middle { return Cut(index: border, fence: nil) }
        }
        if hard.fence != nil, let codeLine, codeLine > middle {
            return Cut(index: codeLine, fence: hard.fence)
        }
        if hard.fence == nil, let word, word > middle { return Cut(index: word, fence: nil) }
        return hard
    }

    /// A line ends before `next`.
    private mutating func noteLine(
        _ next: Substring.Index,
        in text: Substring,
        _ open: Substring?,
        _ codeEnd: Substring.Index
    ) {
        if open == nil {
            line = next
            if next < text.endIndex, text[next].isNewline { paragraph = next }
        } else if next <= codeEnd {
            codeLine = next
        }
    }

    /// The ends of sentences and words in a line outside of code.
    private mutating func note(_ content: Substring, upTo end: Substring.Index) {
        // What is not past the middle is passed over anyway.
        var index = max(content.startIndex, min(middle, content.endIndex))
        while index < content.endIndex, index < end {
            let next = content.index(after: index)
            guard next <= end else { return }
            switch content.unicodeScalars[index] {
            case "。", "！", "？": sentence = next
            case ".", "!", "?", "…":
                if next < content.endIndex, content[next].isWhitespace { sentence = next }
            case let scalar where scalar.properties.isWhitespace: word = next
            default: break
            }
            index = next
        }
    }

    /// Whether a line opens or closes a block of code; one that does both is a block by itself.
    static func isFence(_ line: Substring) -> Bool {
        let text = line.drop(while: { $0 == " " })
        guard text.hasPrefix("```") else { return false }
        return text.split(separator: "```", omittingEmptySubsequences: false).count == 2
    }

    /// The line that opens a block again; one that says too much opens it without a word.
    static func opening(_ fence: Substring) -> Substring {
        fence.unicodeScalars.count <= 32 ? fence : "```"
    }

    /// Whether a line ends with `scalar`; unlike a character it is told at a glance.
    private static func endsLine(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "\n", "\r", "\u{B}", "\u{C}", "\u{85}", "\u{2028}", "\u{2029}": true
        default: false
        }
    }

    /// Whether the block of code that `text` begins with ends before `limit`.
    private static func closes(_ text: Substring, within limit: Int) -> Bool {
        let reach = text[..<end(of: text, after: limit)]
        return reach.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
            .dropFirst()
            .contains(where: isFence)
    }

    /// The end of the longest part with at most `count` code points; a character that is longer
    /// than that by itself is cut.
    private static func end(of text: Substring, after count: Int) -> Substring.Index {
        let scalars = text.unicodeScalars
        guard
            let limit = scalars.index(
                scalars.startIndex,
                offsetBy: count,
                limitedBy: scalars.endIndex
            )
        else { return text.endIndex }
        guard limit < text.endIndex else { return limit }
        // The character that the limit is in, or that begins there.
        let character = text.index(before: text.index(after: limit))
        return character > text.startIndex ? character : limit
    }
}
