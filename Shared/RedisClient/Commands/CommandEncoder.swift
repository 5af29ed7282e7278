/// Writes commands as the server reads them: an array of bulk strings (RESP2).
enum CommandEncoder {
    /// The longest number: a mark, 20 characters, and the line's end.
    private static let lineLimit = 23

    /// Writes `command` at the end of `output`.
    static func encode(_ command: [RedisArgument], to output: inout OutputBuffer) {
        var limit = lineLimit
        for argument in command {
            switch argument {
            case .string(let text): limit += lineLimit + 2 + text.utf8.count
            case .bytes(let content): limit += lineLimit + 2 + content.count
            case .int: limit += 2 * lineLimit
            }
        }
        output.append(upTo: limit) { start in
            var writer = Writer(position: start)
            writer.writeLine(UInt8(ascii: "*"), command.count)
            for argument in command { writer.write(argument) }
            return writer.position - start
        }
    }

    /// The number of digits of `magnitude`.
    @inline(__always)
    fileprivate static func width(of magnitude: UInt64) -> Int {
        var rest = magnitude
        var width = 1
        while rest >= 10 {
            rest /= 10
            width += 1
        }
        return width
    }
}

/// Where the next byte goes; the memory was made large enough before.
private struct Writer {
    var position: UnsafeMutableRawPointer

    @inline(__always)
    mutating func write(_ argument: RedisArgument) {
        switch argument {
        case .string(let text):
            writeLine(UInt8(ascii: "$"), text.utf8.count)
            if text.utf8.withContiguousStorageIfAvailable({ write(UnsafeRawBufferPointer($0)) })
                == nil
            {
                for byte in text.utf8 { write(byte) }
            }
        case .bytes(let content):
            writeLine(UInt8(ascii: "$"), content.count)
            content.withUnsafeBytes { write($0) }
        case .int(let number):
            let sign = number < 0 ? 1 : 0
            let width = CommandEncoder.width(of: number.magnitude)
            writeLine(UInt8(ascii: "$"), width + sign)
            if sign == 1 { write(UInt8(ascii: "-")) }
            write(number.magnitude, width: width)
        }
        writeLineEnd()
    }

    @inline(__always)
    mutating func writeLine(_ mark: UInt8, _ number: Int) {
        write(mark)
        write(UInt64(number), width: CommandEncoder.width(of: UInt64(number)))
        writeLineEnd()
    }

    @inline(__always)
    private mutating func writeLineEnd() {
        write(UInt8(ascii: "\r"))
        write(UInt8(ascii: "\n"))
    }

    @inline(__always)
    private mutating func write(_ byte: UInt8) {
        position.storeBytes(of: byte, as: UInt8.self)
        position += 1
    }

    @inline(__always)
    private mutating func write(_ bytes: UnsafeRawBufferPointer) {
        guard let start = bytes.baseAddress else { return }
        position.copyMemory(from: start, byteCount: bytes.count)
        position += bytes.count
    }

    private mutating func write(_ magnitude: UInt64, width: Int) {
        var rest = magnitude
        for index in (0..<width).reversed() {
            let digit = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
            position.storeBytes(of: digit, toByteOffset: index, as: UInt8.self)
            rest /= 10
        }
        position += width
    }
}
