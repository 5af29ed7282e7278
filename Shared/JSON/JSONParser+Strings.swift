extension JSONParser {
    /// Reads a string; `position` is at its opening quote.
    mutating func string(_ bytes: Span<UInt8>) throws(JSONError) -> String {
        position += 1
        let start = position
        try skipPlain(bytes)
        guard bytes[position] == UInt8(ascii: "\"") else {
            return try escapedString(bytes, from: start)
        }
        let text = try validated(bytes, start..<position) { String(copying: $0) }
        position += 1
        return text
    }

    /// Moves to the next quote or backslash.
    private mutating func skipPlain(_ bytes: Span<UInt8>) throws(JSONError) {
        while position < bytes.count {
            let byte = bytes[position]
            if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { return }
            if byte < 0x20 { throw error(.controlCharacter) }
            position += 1
        }
        throw error(.unexpectedEnd)
    }

    /// Continues a string, begun at `start`, at its first backslash.
    private mutating func escapedString(
        _ bytes: Span<UInt8>,
        from start: Int
    ) throws(JSONError) -> String {
        var text = ""
        var segmentStart = start
        while true {
            // A sequence of several bytes cannot continue behind an escape, so that each segment
            // has to be valid by itself.
            text += try validated(bytes, segmentStart..<position) { String(copying: $0) }
            guard bytes[position] == UInt8(ascii: "\\") else {
                position += 1
                return text
            }
            text.unicodeScalars.append(try escape(bytes))
            segmentStart = position
            try skipPlain(bytes)
        }
    }

    private func validated<Result>(
        _ bytes: Span<UInt8>,
        _ range: Range<Int>,
        _ body: (UTF8Span) -> Result
    ) throws(JSONError) -> Result {
        do {
            return body(try UTF8Span(validating: bytes.extracting(range)))
        } catch {
            throw JSONError(.invalidUTF8, at: range.lowerBound + error.byteOffsets.lowerBound)
        }
    }

    /// Reads one escape sequence; `position` is at its backslash.
    private mutating func escape(_ bytes: Span<UInt8>) throws(JSONError) -> Unicode.Scalar {
        let start = position
        position += 1
        let kind = try next(bytes)
        position += 1
        switch kind {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(kind)
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{C}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"): return try unicodeEscape(bytes, from: start)
        default: throw JSONError(.invalidEscape, at: start)
        }
    }

    /// Reads the digits of `\u`, and the second half of a surrogate pair.
    private mutating func unicodeEscape(
        _ bytes: Span<UInt8>,
        from start: Int
    ) throws(JSONError) -> Unicode.Scalar {
        let first = try hexadecimal(bytes)
        if let scalar = Unicode.Scalar(first) { return scalar }
        guard first < 0xDC00,
            position + 1 < bytes.count,
            bytes[position] == UInt8(ascii: "\\"),
            bytes[position + 1] == UInt8(ascii: "u")
        else { throw JSONError(.loneSurrogate, at: start) }
        position += 2
        let second = try hexadecimal(bytes)
        guard (0xDC00...0xDFFF).contains(second),
            let scalar = Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00))
        else { throw JSONError(.loneSurrogate, at: start) }
        return scalar
    }

    private mutating func hexadecimal(_ bytes: Span<UInt8>) throws(JSONError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            let byte = try next(bytes)
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"):
                value = value << 4 | UInt32(byte - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f"):
                value = value << 4 | UInt32(byte - UInt8(ascii: "a") + 10)
            case UInt8(ascii: "A")...UInt8(ascii: "F"):
                value = value << 4 | UInt32(byte - UInt8(ascii: "A") + 10)
            default: throw error(.invalidEscape)
            }
            position += 1
        }
        return value
    }
}
