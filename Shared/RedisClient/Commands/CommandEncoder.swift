/// Writes commands as the server reads them: an array of bulk strings (RESP2).
///
/// It keeps its buffer from command to command, so that a steady state allocates nothing.
struct CommandEncoder {
    /// A buffer that one large command made bigger than this is given back afterwards.
    static let bufferKept = 64 * 1024

    private(set) var bytes: [UInt8] = []

    /// Replaces ``bytes`` by `command`, with a zero byte at the end that is not part of it.
    ///
    /// hiredis looks for the next word with `strchr` and reads one byte past the last word, so the
    /// zero must be there.
    mutating func encode(_ command: [RedisArgument]) {
        if bytes.capacity > CommandEncoder.bufferKept { bytes = [] }
        bytes.removeAll(keepingCapacity: true)
        appendLine(UInt8(ascii: "*"), command.count)
        for argument in command {
            switch argument {
            case .string(let text):
                appendLine(UInt8(ascii: "$"), text.utf8.count)
                bytes.append(contentsOf: text.utf8)
            case .bytes(let content):
                appendLine(UInt8(ascii: "$"), content.count)
                bytes.append(contentsOf: content)
            case .int(let number):
                appendLine(UInt8(ascii: "$"), CommandEncoder.width(of: number))
                appendDecimal(number)
            }
            appendLineEnd()
        }
        bytes.append(0)
    }

    /// The bytes of the command alone.
    var count: Int { bytes.count - 1 }

    private mutating func appendLine(_ mark: UInt8, _ number: Int) {
        bytes.append(mark)
        appendDecimal(Int64(number))
        appendLineEnd()
    }

    private mutating func appendLineEnd() {
        bytes.append(UInt8(ascii: "\r"))
        bytes.append(UInt8(ascii: "\n"))
    }

    private mutating func appendDecimal(_ number: Int64) {
        if number < 0 { bytes.append(UInt8(ascii: "-")) }
        appendDigits(number.magnitude)
    }

    private mutating func appendDigits(_ magnitude: UInt64) {
        if magnitude >= 10 { appendDigits(magnitude / 10) }
        bytes.append(UInt8(ascii: "0") + UInt8(magnitude % 10))
    }

    private static func width(of number: Int64) -> Int {
        digits(of: number.magnitude) + (number < 0 ? 1 : 0)
    }

    private static func digits(of magnitude: UInt64) -> Int {
        var rest = magnitude / 10
        var digits = 1
        while rest > 0 {
            rest /= 10
            digits += 1
        }
        return digits
    }
}
