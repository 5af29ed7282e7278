/// Takes what looks like a secret out of a text that people will read.
///
/// A net below the rule that secrets are not put into texts at all, drawn tight: a harmless word
/// behind `token:` is lost with the rest. Known are
/// - tokens by their beginning: Slack's (`xoxb-…`, `xoxe.xoxp-…`, `xapp-…`), our keys (`sb_…`), keys
///   of AI providers (`sk-…`);
/// - credentials by their place: `Bearer …`, `Authorization: …`, `Cookie: …`, the user part of a URL;
/// - values by their name: `password`, `secret`, `token`, `api_key` and the like, alone or at the
///   end of a longer name, before `=` or `:`, quoted or not.
public enum Redaction {
    /// What stands in the place of a secret.
    public static let mark = "***"

    /// `text` without secrets; the same text when there are none.
    public static func redacted(_ text: String) -> String {
        guard mayHoldSecret(text.utf8.span) else { return text }
        let scanner = RedactionScanner(bytes: Array(text.utf8))
        return scanner.run().map { String(decoding: $0, as: UTF8.self) } ?? text
    }
}

extension Redaction {
    /// Whether it is worth looking closer: most texts are let go here, at little cost.
    static func mayHoldSecret(_ bytes: Span<UInt8>) -> Bool {
        var previous: UInt8 = 0
        for index in bytes.indices {
            let byte = bytes[index]
            if isStart(previous, byte) { return true }
            previous = byte
        }
        return false
    }

    /// Whether what announces a secret begins with these two bytes, in whatever case.
    static func isStart(_ first: UInt8, _ second: UInt8) -> Bool {
        let second = second | 0x20
        switch first | 0x20 {
        case UInt8(ascii: ":"): return second == UInt8(ascii: "/")
        case UInt8(ascii: "a"):
            return second == UInt8(ascii: "u") || second == UInt8(ascii: "p")
                || second == UInt8(ascii: "c")
        case UInt8(ascii: "b"): return second == UInt8(ascii: "e")
        case UInt8(ascii: "c"): return second == UInt8(ascii: "o") || second == UInt8(ascii: "r")
        case UInt8(ascii: "p"):
            return second == UInt8(ascii: "a") || second == UInt8(ascii: "w")
                || second == UInt8(ascii: "r")
        case UInt8(ascii: "s"):
            return second == UInt8(ascii: "b") || second == UInt8(ascii: "k")
                || second == UInt8(ascii: "e")
        case UInt8(ascii: "t"): return second == UInt8(ascii: "o")
        case UInt8(ascii: "x"): return second == UInt8(ascii: "o") || second == UInt8(ascii: "a")
        default: return false
        }
    }
}

/// Finds secrets in one pass over a text's bytes.
///
/// All that it knows is ASCII, and bytes of other characters are never equal to those of ASCII.
struct RedactionScanner {
    let bytes: [UInt8]

    /// Names whose value is a secret.
    private static let secretNames = [
        "password", "passwd", "pwd", "secret", "secret_key", "token", "api_key", "api-key",
        "apikey",
        "access_key", "private_key", "credential", "credentials",
    ].map { Array($0.utf8) }
    /// Names whose value, when not quoted, is a secret up to the end of its line.
    private static let lineNames = ["authorization", "cookie"].map { Array($0.utf8) }
    /// How many quotes, backslashes and spaces may stand between a name and its value.
    private static let gapMax = 8

    /// The text with its secrets replaced, or nil when there are none.
    func run() -> [UInt8]? {
        var output: [UInt8] = []
        var copied = 0
        var position = 0
        while position < bytes.count {
            guard position + 1 < bytes.count,
                Redaction.isStart(bytes[position], bytes[position + 1]),
                let secret = secret(at: position), !secret.isEmpty
            else {
                position += 1
                continue
            }
            output += bytes[copied..<secret.lowerBound]
            output += Redaction.mark.utf8
            copied = secret.upperBound
            position = copied
        }
        return copied == 0 ? nil : output + bytes[copied...]
    }

    /// The secret that what stands at `position` announces.
    private func secret(at position: Int) -> Range<Int>? {
        let first = lowered(position)
        switch first {
        case UInt8(ascii: ":"): return userInfo(position)
        case UInt8(ascii: "x"), UInt8(ascii: "s"):
            if let token = token(position) { return token }
        case UInt8(ascii: "b"):
            if let credential = bearer(position) { return credential }
        default: break
        }
        return namedValue(position, first)
    }

    // MARK: Tokens

    private func token(_ position: Int) -> Range<Int>? {
        if let start = slackToken(position) {
            return start..<end(start, while: RedactionScanner.isTokenByte)
        }
        guard position == 0 || !RedactionScanner.isWordByte(bytes[position - 1]) else { return nil }
        for (prefix, lengthMin) in [("sb_", 4), ("sk-", 8)] where matches(prefix.utf8, position) {
            let start = position + prefix.utf8.count
            let end = end(start, while: RedactionScanner.isTokenByte)
            if end - start >= lengthMin { return start..<end }
        }
        return nil
    }

    /// Where the secret part of `xoxb-…`, `xoxe.…` or `xapp-…` begins.
    private func slackToken(_ position: Int) -> Int? {
        if matches("xapp-".utf8, position) { return position + 5 }
        guard matches("xox".utf8, position), position + 4 < bytes.count,
            bytes[position + 4] == UInt8(ascii: "-") || bytes[position + 4] == UInt8(ascii: ".")
        else { return nil }
        return position + 5
    }

    // MARK: Places

    private func bearer(_ position: Int) -> Range<Int>? {
        guard matches("bearer".utf8, position) else { return nil }
        let gap = position + 6
        let start = end(gap) { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
        guard start > gap else { return nil }
        return start..<end(start) { !RedactionScanner.endsValue($0) }
    }

    /// The user part of `scheme://user:password@host`.
    private func userInfo(_ position: Int) -> Range<Int>? {
        guard matches("://".utf8, position) else { return nil }
        let start = position + 3
        let authority = start..<end(start) { !RedactionScanner.endsAuthority($0) }
        if let at = bytes[authority].lastIndex(of: UInt8(ascii: "@")) { return start..<at }
        // Somebody cut the URL before its `@`: what follows the colon would have to be a port.
        guard let colon = bytes[authority].lastIndex(of: UInt8(ascii: ":")),
            bytes[start] != UInt8(ascii: "["),
            !bytes[colon..<authority.upperBound].dropFirst().allSatisfy(RedactionScanner.isDigit)
        else { return nil }
        return authority
    }

    private func namedValue(_ position: Int, _ first: UInt8) -> Range<Int>? {
        for name in RedactionScanner.lineNames where name[0] == first && matches(name, position) {
            guard let start = valueStart(position + name.count) else { continue }
            return value(start) { !RedactionScanner.endsLine($0) }
        }
        for name in RedactionScanner.secretNames where name[0] == first && matches(name, position) {
            guard let start = valueStart(position + name.count) else { continue }
            return value(start) { !RedactionScanner.endsValue($0) }
        }
        return nil
    }

    /// Where the value begins whose name ends at `position`, past `=` or `:`.
    private func valueStart(_ position: Int) -> Int? {
        let separator = end(
            position,
            atMost: RedactionScanner.gapMax,
            while: RedactionScanner.isGap
        )
        guard separator < bytes.count,
            bytes[separator] == UInt8(ascii: "=") || bytes[separator] == UInt8(ascii: ":")
        else { return nil }
        return end(separator + 1, atMost: RedactionScanner.gapMax) {
            $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\\") || $0 == UInt8(ascii: ">")
        }
    }

    /// A value from `start`: up to its closing quote, or else as far as `isPart` says.
    private func value(_ start: Int, _ isPart: (UInt8) -> Bool) -> Range<Int>? {
        guard start < bytes.count else { return nil }
        let quote = bytes[start]
        guard quote == UInt8(ascii: "\"") || quote == UInt8(ascii: "'") else {
            return start..<end(start, while: isPart)
        }
        // In JSON inside a string the quotes themselves are escaped.
        let isEscaped = bytes[start - 1] == UInt8(ascii: "\\")
        var position = start + 1
        while position < bytes.count, bytes[position] != quote {
            position += !isEscaped && bytes[position] == UInt8(ascii: "\\") ? 2 : 1
        }
        let end = isEscaped && bytes[position - 1] == UInt8(ascii: "\\") ? position - 1 : position
        return (start + 1)..<max(start + 1, min(end, bytes.count))
    }

    // MARK: Bytes

    private func lowered(_ position: Int) -> UInt8 {
        let byte = bytes[position]
        return (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte | 0x20 : byte
    }

    /// Whether `expected`, in lower case, stands at `position` in whatever case.
    private func matches(_ expected: some Collection<UInt8>, _ position: Int) -> Bool {
        guard position + expected.count <= bytes.count else { return false }
        return zip(expected, position...).allSatisfy { lowered($1) == $0 }
    }

    /// The end of the run of bytes from `start` that satisfy `condition`.
    private func end(
        _ start: Int,
        atMost count: Int = .max,
        while condition: (UInt8) -> Bool
    ) -> Int {
        var position = start
        while position < bytes.count, position - start < count, condition(bytes[position]) {
            position += 1
        }
        return position
    }

    private static func isWordByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
            true
        default: false
        }
    }

    private static func isDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }

    private static func isTokenByte(_ byte: UInt8) -> Bool {
        isWordByte(byte) || "-.~+/=%".utf8.contains(byte)
    }

    private static func isGap(_ byte: UInt8) -> Bool {
        " \t\"'\\".utf8.contains(byte)
    }

    private static func endsLine(_ byte: UInt8) -> Bool {
        byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'")
    }

    private static func endsValue(_ byte: UInt8) -> Bool {
        endsLine(byte) || byte == UInt8(ascii: " ") || byte == UInt8(ascii: "&")
    }

    private static func endsAuthority(_ byte: UInt8) -> Bool {
        endsLine(byte) || " /?#".utf8.contains(byte)
    }
}
