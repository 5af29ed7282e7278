/// What a frame is (RFC 6455 section 11.8).
enum WebSocketOpcode: UInt8, Sendable {
    case continuation = 0x0
    case text = 0x1
    case binary = 0x2
    case close = 0x8
    case ping = 0x9
    case pong = 0xa

    var isControl: Bool { rawValue & 0x8 != 0 }
}

/// Why a WebSocket ends, as its close frame says it (RFC 6455 section 7.4).
public struct WebSocketCloseCode: Sendable, Hashable {
    /// The number.
    public let number: UInt16

    /// A code of this number.
    public init(_ number: UInt16) { self.number = number }

    /// All is said.
    public static let normal = WebSocketCloseCode(1000)
    /// The server goes down; the client may connect again.
    public static let goingAway = WebSocketCloseCode(1001)
    /// The other side broke the protocol.
    public static let protocolError = WebSocketCloseCode(1002)
    /// Messages of this kind are not taken.
    public static let unsupportedData = WebSocketCloseCode(1003)
    /// A text message was not UTF-8.
    public static let invalidText = WebSocketCloseCode(1007)
    /// What the other side did is not allowed.
    public static let policyViolation = WebSocketCloseCode(1008)
    /// A message was too large.
    public static let tooLarge = WebSocketCloseCode(1009)
    /// This side failed.
    public static let internalError = WebSocketCloseCode(1011)
    /// Too much is going on; the client may connect again later.
    public static let tryAgainLater = WebSocketCloseCode(1013)

    /// Whether a close frame may carry it: 1004 to 1006 and 1015 stand for things that no frame says,
    /// and what nobody has registered means nothing.
    var mayBeSent: Bool {
        switch number {
        case 1000...1003, 1007...1014, 3000...4999: true
        default: false
        }
    }
}

/// Frames of the server's side: whole, and never masked.
enum WebSocketFrame {
    /// The bytes of a frame.
    static func encode(_ opcode: WebSocketOpcode, _ payload: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(payload.count + 10)
        bytes.append(0x80 | opcode.rawValue)
        switch payload.count {
        case ...125: bytes.append(UInt8(payload.count))
        case ...0xffff:
            bytes.append(126)
            append(payload.count, bytes: 2, to: &bytes)
        default:
            bytes.append(127)
            append(payload.count, bytes: 8, to: &bytes)
        }
        bytes.append(contentsOf: payload)
        return bytes
    }

    /// A close frame; a reason that is too long for a control frame is cut between characters.
    static func close(_ code: WebSocketCloseCode?, reason: String = "") -> [UInt8] {
        guard let code else { return encode(.close, []) }
        var payload = [UInt8(code.number >> 8), UInt8(truncatingIfNeeded: code.number)]
        for scalar in reason.unicodeScalars {
            let bytes = Array(String(scalar).utf8)
            guard payload.count + bytes.count <= 125 else { break }
            payload.append(contentsOf: bytes)
        }
        return encode(.close, payload)
    }

    private static func append(_ number: Int, bytes count: Int, to bytes: inout [UInt8]) {
        for shift in stride(from: (count - 1) * 8, through: 0, by: -8) {
            bytes.append(UInt8(truncatingIfNeeded: number >> shift))
        }
    }
}
