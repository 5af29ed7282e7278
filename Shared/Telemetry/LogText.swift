/// Text on its way into a log line: without secrets, without tricks on a terminal, of bounded size.
enum LogText {
    /// A longer text is cut before anything else looks at it.
    static let scannedBytesMax = 65536

    /// Appends `text` as a JSON string of at most `bytesMax` bytes and its quotes.
    static func append(_ text: String, bytesMax: Int, to output: inout [UInt8]) {
        let text = Redaction.redacted(bounded(text))
        output.append(UInt8(ascii: "\""))
        if text.utf8.count <= bytesMax, isPlain(text.utf8.span) {
            output.append(contentsOf: text.utf8)
        } else {
            escape(text, bytesMax: bytesMax, to: &output)
        }
        output.append(UInt8(ascii: "\""))
    }

    /// Whether the bytes can stand in a string as they are.
    private static func isPlain(_ bytes: Span<UInt8>) -> Bool {
        for index in bytes.indices {
            let byte = bytes[index]
            guard (0x20..<0x7F).contains(byte), byte != UInt8(ascii: "\""),
                byte != UInt8(ascii: "\\")
            else { return false }
        }
        return true
    }

    private static func escape(_ text: String, bytesMax: Int, to output: inout [UInt8]) {
        let ellipsis = Array("…".utf8)
        let end = output.count + bytesMax
        // Where to cut if the rest turns out not to fit.
        var cut = output.count
        for scalar in text.unicodeScalars {
            append(scalar, to: &output)
            if output.count > end {
                output.removeLast(output.count - cut)
                output += ellipsis
                return
            }
            if output.count <= end - ellipsis.count { cut = output.count }
        }
    }

    private static func bounded(_ text: String) -> String {
        guard text.utf8.count > scannedBytesMax else { return text }
        return String(decoding: text.utf8.prefix(scannedBytesMax), as: UTF8.self)
    }

    private static func append(_ scalar: Unicode.Scalar, to output: inout [UInt8]) {
        switch scalar {
        case "\"", "\\":
            output.append(UInt8(ascii: "\\"))
            output.append(UInt8(truncatingIfNeeded: scalar.value))
        case "\n": output += "\\n".utf8
        case "\r": output += "\\r".utf8
        case "\t": output += "\\t".utf8
        case let scalar where isTrick(scalar):
            output += "\\u".utf8
            for shift in [12, 8, 4, 0] as [UInt32] {
                let digit = UInt8(scalar.value >> shift & 0xF)
                output.append(digit + (digit < 10 ? UInt8(ascii: "0") : UInt8(ascii: "a") - 10))
            }
        case let scalar where scalar.isASCII: output.append(UInt8(ascii: scalar))
        default: output += String(scalar).utf8
        }
    }

    /// Whether a terminal or an editor could act on the character rather than show it: controls,
    /// line separators, marks that change the direction of writing.
    private static func isTrick(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0..<0x20, 0x7F..<0xA0, 0x2028...0x202E, 0x2066...0x2069, 0x200E, 0x200F, 0xFEFF: true
        default: false
        }
    }
}
