/// A scanner that knows enough of Swift to tell code from comments and strings.
///
/// Approximate on purpose: an interpolation counts as part of its string, and a regex literal that
/// holds a quotation mark is taken for a string.
struct SwiftCode {
    private let bytes: [UInt8]

    init(_ text: String) {
        bytes = Array(text.utf8)
    }

    /// The text with every byte of comments and strings, line ends excepted, made a space.
    var withoutCommentsAndStrings: String {
        var result = bytes
        var index = 0
        while index < bytes.count {
            let end = endOfSkipped(at: index)
            for position in index..<end where result[position] != UInt8(ascii: "\n") {
                result[position] = UInt8(ascii: " ")
            }
            index = max(end, index + 1)
        }
        return String(decoding: result, as: UTF8.self)
    }

    /// The end of the comment or string that begins at `index`, or `index` when none does.
    private func endOfSkipped(at index: Int) -> Int {
        switch bytes[index] {
        case UInt8(ascii: "/"), UInt8(ascii: "\""), UInt8(ascii: "#"): break
        default: return index
        }
        if matches("//", at: index) { return firstIndex(of: "\n", from: index) }
        if matches("/*", at: index) { return endOfBlockComment(at: index) }
        var quote = index
        while quote < bytes.count, bytes[quote] == UInt8(ascii: "#") { quote += 1 }
        guard matches("\"", at: quote) else { return index }
        let hashes = String(repeating: "#", count: quote - index)
        let mark = matches("\"\"\"", at: quote) ? "\"\"\"" : "\""
        return endOfString(from: quote + mark.utf8.count, mark: mark, hashes: hashes)
    }

    private func endOfBlockComment(at start: Int) -> Int {
        var depth = 0
        var index = start
        while index < bytes.count {
            if matches("/*", at: index) {
                depth += 1
                index += 2
            } else if matches("*/", at: index) {
                depth -= 1
                index += 2
                if depth == 0 { return index }
            } else {
                index += 1
            }
        }
        return index
    }

    private func endOfString(from start: Int, mark: String, hashes: String) -> Int {
        var index = start
        while index < bytes.count {
            guard isSpecialInString(bytes[index], closedBy: mark) else {
                index += 1
                continue
            }
            if matches("\\" + hashes + "(", at: index) {
                index = endOfInterpolation(from: index + hashes.utf8.count + 2)
            } else if matches("\\" + hashes, at: index) {
                index += hashes.utf8.count + 2
            } else if matches(mark + hashes, at: index) {
                return index + mark.utf8.count + hashes.utf8.count
            } else if mark == "\"", bytes[index] == UInt8(ascii: "\n") {
                return index
            } else {
                index += 1
            }
        }
        return bytes.count
    }

    private func isSpecialInString(_ byte: UInt8, closedBy mark: String) -> Bool {
        byte == UInt8(ascii: "\\") || byte == UInt8(ascii: "\"")
            || (byte == UInt8(ascii: "\n") && mark == "\"")
    }

    private func endOfInterpolation(from start: Int) -> Int {
        var depth = 1
        var index = start
        while index < bytes.count, depth > 0 {
            let skipped = endOfSkipped(at: index)
            if skipped > index {
                index = skipped
                continue
            }
            if bytes[index] == UInt8(ascii: "(") { depth += 1 }
            if bytes[index] == UInt8(ascii: ")") { depth -= 1 }
            index += 1
        }
        return index
    }

    private func matches(_ text: String, at index: Int) -> Bool {
        let wanted = text.utf8
        return index + wanted.count <= bytes.count
            && bytes[index..<index + wanted.count].elementsEqual(wanted)
    }

    private func firstIndex(of text: String, from start: Int) -> Int {
        var index = start
        while index < bytes.count, !matches(text, at: index) { index += 1 }
        return index
    }
}
