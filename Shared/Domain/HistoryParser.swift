/// Reads a history in one pass over its bytes; see ``History``.
struct HistoryParser {
    let bytes: [UInt8]
    let mode: History.Mode
    private var position = 0
    private var result: [HistoryTurn] = []
    /// Where text outside of any pair began, in lenient mode.
    private var strayStart: Int?

    init(bytes: [UInt8], mode: History.Mode) {
        self.bytes = bytes
        self.mode = mode
    }

    mutating func turns() throws(HistoryError) -> [HistoryTurn] {
        // `position` is where a turn may begin.
        while true {
            skipSeparators()
            guard position < bytes.count else { break }
            if let role = openingTag(at: position) {
                try endStray(at: position)
                try turn(of: role)
            } else {
                try stray()
            }
        }
        try endStray(at: bytes.count)
        guard !result.isEmpty else { throw HistoryError(offset: 0, reason: "no turn in it") }
        return result
    }

    // MARK: Turns

    private mutating func turn(of role: HistoryTurn.Role) throws(HistoryError) {
        let tagStart = position
        let start = position + role.tag.utf8.count + 2
        guard let end = closing(role, from: start) else {
            if mode == .strict {
                throw HistoryError(
                    offset: tagStart,
                    reason: "<\(role.tag)> is not ended by </\(role.tag)> before <br>, a newline "
                        + "or the end"
                )
            }
            // Nothing after a tag that does not end can be told from its text.
            return try append(.user, tagStart..<bytes.count, unescaped: false, next: bytes.count)
        }
        if mode == .strict, let tag = knownTag(in: start..<end) {
            throw HistoryError(offset: tag, reason: "a tag in the text of a turn; write &lt;")
        }
        try append(role, start..<end, unescaped: true, next: end + role.tag.utf8.count + 3)
    }

    /// Where the closing tag is that ends the turn: the first one that is followed by a boundary.
    private func closing(_ role: HistoryTurn.Role, from start: Int) -> Int? {
        var index = start
        while let found = next("<", from: index) {
            if matches("</\(role.tag)>", at: found),
                isBoundary(at: found + role.tag.utf8.count + 3)
            {
                return found
            }
            index = found + 1
        }
        return nil
    }

    private mutating func append(
        _ role: HistoryTurn.Role,
        _ range: Range<Int>,
        unescaped: Bool,
        next: Int
    ) throws(HistoryError) {
        guard result.count < History.turnsMax else {
            throw HistoryError(
                offset: range.lowerBound,
                reason: "more than \(History.turnsMax) turns"
            )
        }
        let content = unescaped ? HistoryParser.unescape(bytes[range]) : Array(bytes[range])
        result.append(HistoryTurn(role: role, content: String(decoding: content, as: UTF8.self)))
        position = next
    }

    // MARK: What is no turn

    /// Text at a place where a turn may begin: up to the next such place.
    private mutating func stray() throws(HistoryError) {
        if mode == .strict {
            let isTag = bytes[position] == UInt8(ascii: "<")
            throw HistoryError(
                offset: position,
                reason: isTag ? "a tag that is neither <USER> nor <BOT>" : "text outside of a turn"
            )
        }
        if strayStart == nil { strayStart = position }
        while position < bytes.count, !isNewline(bytes[position]), lineBreak(at: position) == nil {
            position += 1
        }
    }

    /// Text outside of any pair is what the user said: the role that may least.
    private mutating func endStray(at end: Int) throws(HistoryError) {
        guard let start = strayStart else { return }
        strayStart = nil
        let next = position
        var last = end
        while last > start, isSpace(bytes[last - 1]) || isNewline(bytes[last - 1]) { last -= 1 }
        while let shorter = lineBreak(endingAt: last), shorter >= start { last = shorter }
        try append(.user, start..<last, unescaped: true, next: next)
    }

    // MARK: Marks

    private mutating func skipSeparators() {
        while position < bytes.count {
            if isSpace(bytes[position]) || isNewline(bytes[position]) {
                position += 1
            } else if let end = lineBreak(at: position) {
                position = end
            } else {
                return
            }
        }
    }

    private func openingTag(at index: Int) -> HistoryTurn.Role? {
        HistoryTurn.Role.allCases.first { matches("<\($0.tag)>", at: index) }
    }

    /// The first of our own tags in a text.
    private func knownTag(in range: Range<Int>) -> Int? {
        var index = range.lowerBound
        while let found = next("<", from: index), found < range.upperBound {
            let isOurs = HistoryTurn.Role.allCases.contains {
                matches("<\($0.tag)>", at: found) || matches("</\($0.tag)>", at: found)
            }
            if isOurs { return found }
            index = found + 1
        }
        return nil
    }

    /// Whether a turn may end before `index`: nothing but spaces up to the end or a separator.
    private func isBoundary(at index: Int) -> Bool {
        var index = index
        while index < bytes.count, isSpace(bytes[index]) { index += 1 }
        return index == bytes.count || isNewline(bytes[index]) || lineBreak(at: index) != nil
    }

    /// The end of a `<br>`, `<br/>` or `<br />`, of either case, that begins at `index`.
    private func lineBreak(at index: Int) -> Int? {
        guard index + 4 <= bytes.count, bytes[index] == UInt8(ascii: "<"),
            bytes[index + 1] | 0x20 == UInt8(ascii: "b"),
            bytes[index + 2] | 0x20 == UInt8(ascii: "r")
        else { return nil }
        var end = index + 3
        if bytes[end] == UInt8(ascii: " ") { end += 1 }
        if end < bytes.count, bytes[end] == UInt8(ascii: "/") { end += 1 }
        guard end < bytes.count, bytes[end] == UInt8(ascii: ">") else { return nil }
        return end + 1
    }

    /// Where a `<br>` begins that ends at `end`.
    private func lineBreak(endingAt end: Int) -> Int? {
        (4...6).map { end - $0 }.first { $0 >= 0 && lineBreak(at: $0) == end }
    }

    private func next(_ mark: Character, from index: Int) -> Int? {
        guard index < bytes.count, let byte = mark.asciiValue else { return nil }
        return bytes[index...].firstIndex(of: byte)
    }

    private func matches(_ text: String, at index: Int) -> Bool {
        let wanted = text.utf8
        return index + wanted.count <= bytes.count
            && bytes[index..<(index + wanted.count)].elementsEqual(wanted)
    }

    private func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }
    private func isNewline(_ byte: UInt8) -> Bool { byte == 0x0A || byte == 0x0D }

    private static let entities: [(text: [UInt8], byte: UInt8)] = [
        (Array("&lt;".utf8), UInt8(ascii: "<")), (Array("&gt;".utf8), UInt8(ascii: ">")),
        (Array("&amp;".utf8), UInt8(ascii: "&")),
    ]

    private static func unescape(_ text: ArraySlice<UInt8>) -> [UInt8] {
        guard text.contains(UInt8(ascii: "&")) else { return Array(text) }
        var plain: [UInt8] = []
        plain.reserveCapacity(text.count)
        var rest = text
        while let byte = rest.first {
            if byte == UInt8(ascii: "&"),
                let entity = entities.first(where: { rest.starts(with: $0.text) })
            {
                plain.append(entity.byte)
                rest = rest.dropFirst(entity.text.count)
            } else {
                plain.append(byte)
                rest = rest.dropFirst()
            }
        }
        return plain
    }
}
