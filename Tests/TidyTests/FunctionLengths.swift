/// How long the functions of a file are, found by matching braces.
struct FunctionLengths {
    struct Function {
        let name: String
        let line: Int
        let length: Int
    }

    /// - Parameter code: a file's text without comments and strings.
    static func functions(in code: String) -> [Function] {
        var scanner = Scanner(code)
        return scanner.functions()
    }
}

private struct Scanner {
    private let bytes: [UInt8]
    private var index = 0
    private var line = 1

    init(_ code: String) {
        bytes = Array(code.utf8)
    }

    mutating func functions() -> [FunctionLengths.Function] {
        var found: [FunctionLengths.Function] = []
        while index < bytes.count {
            guard let word = nextWord() else { continue }
            guard word == "func" || word == "init" || word == "deinit" else { continue }
            let start = line
            let name = word == "func" ? (nextName() ?? word) : word
            // Only a look ahead: functions inside this one are found on the way through it.
            guard let end = lineOfBodyEnd() else { continue }
            found.append(.init(name: name, line: start, length: end - start + 1))
        }
        return found
    }

    /// The word at the index, which moves past it; nil when there is none or it follows a dot.
    private mutating func nextWord() -> String? {
        let start = index
        while index < bytes.count, isWord(bytes[index]) { index += 1 }
        guard index > start else {
            if bytes[index] == UInt8(ascii: "\n") { line += 1 }
            index += 1
            return nil
        }
        if start > 0, bytes[start - 1] == UInt8(ascii: ".") { return nil }
        return String(decoding: bytes[start..<index], as: UTF8.self)
    }

    private mutating func nextName() -> String? {
        while index < bytes.count, bytes[index] == UInt8(ascii: " ") { index += 1 }
        let start = index
        while index < bytes.count, bytes[index] > 0x20, bytes[index] != UInt8(ascii: "(") {
            index += 1
        }
        return index > start ? String(decoding: bytes[start..<index], as: UTF8.self) : nil
    }

    /// The line of the brace that closes the body; nil for a requirement, which has none.
    private func lineOfBodyEnd() -> Int? {
        var position = index
        var current = line
        var braces = 0
        var parentheses = 0
        while position < bytes.count {
            switch bytes[position] {
            case UInt8(ascii: "\n"):
                current += 1
                if braces == 0, parentheses == 0, declarationBegins(after: position) { return nil }
            case UInt8(ascii: "("): parentheses += 1
            case UInt8(ascii: ")"): parentheses -= 1
            case UInt8(ascii: "{"): braces += 1
            case UInt8(ascii: "}"):
                // Default arguments may hold closures; the body is outside all parentheses.
                if braces == 0 { return nil }
                braces -= 1
                if braces == 0, parentheses == 0 { return current }
            default: break
            }
            position += 1
        }
        return nil
    }

    private func declarationBegins(after newline: Int) -> Bool {
        var position = newline + 1
        while position < bytes.count, bytes[position] == UInt8(ascii: " ") { position += 1 }
        let rest = bytes[position..<min(position + 12, bytes.count)]
        let next = String(decoding: rest, as: UTF8.self)
        return ["func ", "init(", "var ", "static ", "mutating ", "@", "associatedty", "\n"]
            .contains { next.hasPrefix($0) }
    }

    private func isWord(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
            true
        default: false
        }
    }
}
