/// A message of a client.
public enum WebSocketMessage: Sendable, Hashable {
    /// UTF-8, checked.
    case text([UInt8])
    /// Bytes of any kind.
    case binary([UInt8])

    /// How many bytes it has.
    public var count: Int {
        switch self {
        case .text(let bytes), .binary(let bytes): bytes.count
        }
    }
}

/// Reads the frames of a client (RFC 6455 section 5) and puts messages together.
///
///     head ─▶ length ─▶ mask ─▶ payload ─▶ head …
///
/// What breaks a rule ends it: the rest of the connection means nothing.
struct WebSocketParser: Sendable {
    /// What a client said.
    enum Event: Sendable, Hashable {
        case message(WebSocketMessage)
        case ping([UInt8])
        case pong([UInt8])
        /// The client ends the conversation; without a code it gave none.
        case close(WebSocketCloseCode?)
        /// The client broke a rule.
        case failed(WebSocketCloseCode, String)
    }

    private enum Phase: Sendable {
        case head
        case length
        case extendedLength(missing: Int)
        case mask
        case payload
        case ended
    }

    /// Bytes that a message may have, over all of its frames.
    let messageBytesMax: Int

    private var phase = Phase.head
    private var isFinal = false
    private var opcode = WebSocketOpcode.continuation
    private var length = 0
    private var mask: (UInt8, UInt8, UInt8, UInt8) = (0, 0, 0, 0)
    /// How many bytes of an extended length were read.
    private var lengthBytes = 0
    private var maskCount = 0
    private var taken = 0
    /// The payload of a control frame.
    private var control: [UInt8] = []
    /// The message in progress, and what kind it is; nil between messages.
    private var message: [UInt8] = []
    private var messageOpcode: WebSocketOpcode?
    private var utf8 = WebSocketUTF8()

    init(messageBytesMax: Int) {
        self.messageBytesMax = messageBytesMax
    }

    /// Reads on from `position`; nil when the bytes are used up before something is whole.
    mutating func next(_ bytes: [UInt8], _ position: inout Int, end: Int) -> Event? {
        while position < end || isPayloadWhole {
            let event: Event?
            switch phase {
            case .ended:
                position = end
                return nil
            case .payload:
                event = takePayload(bytes, &position, end: end)
            case .head:
                event = takeHead(bytes[position])
                position += 1
            case .length:
                event = takeLength(bytes[position])
                position += 1
            case .extendedLength(let missing):
                event = takeExtendedLength(bytes[position], missing: missing)
                position += 1
            case .mask:
                takeMask(bytes[position])
                position += 1
                event = nil
            }
            if let event { return event }
        }
        return nil
    }

    /// Whether a frame without payload waits to be finished.
    private var isPayloadWhole: Bool {
        if case .payload = phase { taken == length } else { false }
    }

    private mutating func fail(_ code: WebSocketCloseCode, _ why: String) -> Event {
        phase = .ended
        message = []
        return .failed(code, why)
    }

    // MARK: The head of a frame

    private mutating func takeHead(_ byte: UInt8) -> Event? {
        guard byte & 0x70 == 0 else { return fail(.protocolError, "a reserved bit is set") }
        guard let opcode = WebSocketOpcode(rawValue: byte & 0x0f) else {
            return fail(.protocolError, "an opcode that nobody knows")
        }
        isFinal = byte & 0x80 != 0
        self.opcode = opcode
        if opcode.isControl {
            guard isFinal else { return fail(.protocolError, "a control frame in pieces") }
            control = []
        } else if opcode == .continuation {
            guard messageOpcode != nil else {
                return fail(.protocolError, "a continuation of nothing")
            }
        } else {
            guard messageOpcode == nil else {
                return fail(.protocolError, "a message inside another")
            }
            messageOpcode = opcode
            message = []
            utf8 = WebSocketUTF8()
        }
        phase = .length
        return nil
    }

    private mutating func takeLength(_ byte: UInt8) -> Event? {
        guard byte & 0x80 != 0 else { return fail(.protocolError, "a frame without a mask") }
        let short = Int(byte & 0x7f)
        guard !opcode.isControl || short <= 125 else {
            return fail(.protocolError, "a control frame of more than 125 bytes")
        }
        length = 0
        switch short {
        case 126: phase = .extendedLength(missing: 2)
        case 127: phase = .extendedLength(missing: 8)
        default: return lengthIsKnown(short)
        }
        return nil
    }

    private mutating func takeExtendedLength(_ byte: UInt8, missing: Int) -> Event? {
        if missing == 8, byte & 0x80 != 0 {
            return fail(.protocolError, "a length with its highest bit set")
        }
        lengthBytes += 1
        length = length << 8 | Int(byte)
        guard missing == 1 else {
            phase = .extendedLength(missing: missing - 1)
            return nil
        }
        let isMinimal = lengthBytes == 2 ? length > 125 : length > 0xffff
        lengthBytes = 0
        guard isMinimal else { return fail(.protocolError, "a length with bytes to spare") }
        return lengthIsKnown(length)
    }

    private mutating func lengthIsKnown(_ length: Int) -> Event? {
        self.length = length
        if !opcode.isControl, length > messageBytesMax - message.count {
            return fail(.tooLarge, "a message of more than \(messageBytesMax) bytes")
        }
        taken = 0
        maskCount = 0
        phase = .mask
        return nil
    }

    private mutating func takeMask(_ byte: UInt8) {
        switch maskCount {
        case 0: mask.0 = byte
        case 1: mask.1 = byte
        case 2: mask.2 = byte
        default:
            mask.3 = byte
            phase = .payload
        }
        maskCount += 1
    }

    // MARK: The payload

    private mutating func takePayload(
        _ bytes: [UInt8],
        _ position: inout Int,
        end: Int
    ) -> Event? {
        let count = min(length - taken, end - position)
        let isText = !opcode.isControl && messageOpcode == .text
        for index in position..<position + count {
            let byte = bytes[index] ^ maskByte(taken)
            taken += 1
            if opcode.isControl {
                control.append(byte)
                continue
            }
            guard !isText || utf8.take(byte) else {
                return fail(.invalidText, "text that is not UTF-8")
            }
            message.append(byte)
        }
        position += count
        guard taken == length else { return nil }
        phase = .head
        return opcode.isControl ? controlIsWhole() : frameIsWhole()
    }

    private func maskByte(_ index: Int) -> UInt8 {
        switch index & 3 {
        case 0: mask.0
        case 1: mask.1
        case 2: mask.2
        default: mask.3
        }
    }

    private mutating func frameIsWhole() -> Event? {
        guard isFinal, let kind = messageOpcode else { return nil }
        guard kind != .text || utf8.isComplete else {
            return fail(.invalidText, "text that ends inside a character")
        }
        var whole: [UInt8] = []
        swap(&whole, &message)
        messageOpcode = nil
        return .message(kind == .text ? .text(whole) : .binary(whole))
    }

    private mutating func controlIsWhole() -> Event {
        switch opcode {
        case .ping: return .ping(control)
        case .pong: return .pong(control)
        default: return closeIsWhole()
        }
    }

    private mutating func closeIsWhole() -> Event {
        guard !control.isEmpty else {
            phase = .ended
            return .close(nil)
        }
        guard control.count >= 2 else { return fail(.protocolError, "half of a close code") }
        let code = WebSocketCloseCode(UInt16(control[0]) << 8 | UInt16(control[1]))
        guard code.mayBeSent else {
            return fail(.protocolError, "a close code that no frame may carry")
        }
        var reason = WebSocketUTF8()
        guard control.dropFirst(2).allSatisfy({ reason.take($0) }), reason.isComplete else {
            return fail(.invalidText, "a reason that is not UTF-8")
        }
        phase = .ended
        return .close(code)
    }
}
