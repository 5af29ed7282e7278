/// One word of a command; bytes go to the server as they are.
public enum RedisArgument: Sendable, Hashable {
    /// Text, sent as UTF-8.
    case string(String)
    /// Bytes of any kind.
    case bytes([UInt8])
    /// A number, sent in decimal.
    case int(Int64)

    /// The word as text, for error messages and key checks; nil for bytes.
    var text: String? {
        switch self {
        case .string(let text): text
        case .int(let number): String(number)
        case .bytes: nil
        }
    }

    /// About how many bytes it takes on the wire.
    private var size: Int {
        switch self {
        case .string(let text): text.utf8.count
        case .bytes(let content): content.count
        case .int: 8
        }
    }

    /// About how many bytes a command takes on the wire.
    static func size(of command: [RedisArgument]) -> Int { command.reduce(0) { $0 + $1.size } }
}

extension RedisArgument: ExpressibleByStringInterpolation {
    /// Text.
    public init(stringLiteral value: String) { self = .string(value) }
}

extension RedisArgument: ExpressibleByIntegerLiteral {
    /// A number.
    public init(integerLiteral value: Int64) { self = .int(value) }
}
