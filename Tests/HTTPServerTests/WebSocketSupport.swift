import Testing

@testable import HTTPServer

/// Frames as clients send them.
enum ClientFrame {
    static let mask: [UInt8] = [0x37, 0xfa, 0x21, 0x3d]

    /// A frame; `first` overrules its first byte, `isMasked` leaves the mask out.
    static func encode(
        _ opcode: UInt8,
        _ payload: [UInt8],
        isFinal: Bool = true,
        reserved: UInt8 = 0,
        isMasked: Bool = true
    ) -> [UInt8] {
        var bytes = [(isFinal ? 0x80 : 0) | reserved << 4 | opcode]
        let masked: UInt8 = isMasked ? 0x80 : 0
        switch payload.count {
        case ...125: bytes.append(masked | UInt8(payload.count))
        case ...0xffff:
            bytes += [masked | 126] + lengthBytes(payload.count, 2)
        default:
            bytes += [masked | 127] + lengthBytes(payload.count, 8)
        }
        guard isMasked else { return bytes + payload }
        return bytes + mask + payload.enumerated().map { $1 ^ mask[$0 & 3] }
    }

    static func text(_ text: String, isFinal: Bool = true) -> [UInt8] {
        encode(1, Array(text.utf8), isFinal: isFinal)
    }

    static func close(_ code: UInt16, _ reason: [UInt8] = []) -> [UInt8] {
        encode(8, [UInt8(code >> 8), UInt8(code & 0xff)] + reason)
    }

    static func lengthBytes(_ length: Int, _ count: Int) -> [UInt8] {
        (0..<count).reversed().map { UInt8(truncatingIfNeeded: length >> ($0 * 8)) }
    }
}

extension WebSocketParser {
    /// All events of some bytes that come in pieces of `size`.
    static func events(
        of bytes: [UInt8],
        in size: Int = .max,
        messageBytesMax: Int = 1 << 20
    ) -> [Event] {
        var parser = WebSocketParser(messageBytesMax: messageBytesMax)
        var events: [Event] = []
        var start = 0
        while start < bytes.count {
            let end = start + min(size, bytes.count - start)
            var position = start
            while let event = parser.next(bytes, &position, end: end) { events.append(event) }
            start = end
        }
        return events
    }
}
