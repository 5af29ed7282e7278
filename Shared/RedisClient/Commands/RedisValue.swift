/// What a server answered (RESP2).
public enum RedisValue: Sendable, Hashable {
    /// Nothing: a key that is not there, a wait that ended without an element.
    case null
    /// A number.
    case int(Int64)
    /// Bytes of any kind.
    case string([UInt8])
    /// A short word of success, such as `OK` or `QUEUED`.
    case status(String)
    /// Several values.
    case array([RedisValue])
    /// The error of one element of a pipeline or transaction; a whole reply that is one is thrown.
    case error(String)

    /// A string in UTF-8, or a status; nil for anything else.
    public var text: String? {
        switch self {
        case .string(let bytes): RedisValue.text(bytes)
        case .status(let word): word
        case .null, .int, .array, .error: nil
        }
    }

    /// `String(validating:as:)` looks a generic type up with each call (Swift 6.3.1).
    private static func text(_ bytes: [UInt8]) -> String? {
        guard let text = try? UTF8Span(validating: bytes.span) else { return nil }
        return String(copying: text)
    }

    /// The bytes of a string; nil for anything else.
    public var bytes: [UInt8]? {
        guard case .string(let bytes) = self else { return nil }
        return bytes
    }

    /// A number, or a string of decimal digits; nil for anything else.
    public var integer: Int64? {
        switch self {
        case .int(let number): number
        case .string: text.flatMap { Int64($0) }
        case .null, .status, .array, .error: nil
        }
    }

    /// The elements of an array; nil for anything else.
    public var array: [RedisValue]? {
        guard case .array(let elements) = self else { return nil }
        return elements
    }

    /// Whether it is ``null``.
    public var isNull: Bool { self == .null }

    /// The words of an ``error(_:)``; nil for anything else.
    public var errorMessage: String? {
        guard case .error(let message) = self else { return nil }
        return message
    }

    /// The elements of an array by twos, as in the answers of HGETALL and the fields of a stream
    /// entry; a last one without a partner is left out.
    public var pairs: [(RedisValue, RedisValue)] {
        guard let array else { return [] }
        return stride(from: 0, to: array.count - 1, by: 2).map { (array[$0], array[$0 + 1]) }
    }
}
