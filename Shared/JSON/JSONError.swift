/// What the parser accepts beyond the grammar.
public struct JSONLimits: Sendable, Hashable {
    /// How many arrays and objects may be open at once.
    public var depthMax: Int
    /// How many bytes a number may be written with.
    public var numberBytesMax: Int
    /// Whether integers beyond `Int64` are rounded to `Double` rather than refused.
    public var roundsLargeIntegers: Bool

    /// For requests to us: 64 levels, 128 bytes a number, nothing rounded silently.
    public static let standard = JSONLimits(
        depthMax: 64,
        numberBytesMax: 128,
        roundsLargeIntegers: false
    )

    /// For answers of other people's servers, where one large number must not cost the answer.
    public static let foreign = JSONLimits(
        depthMax: 64,
        numberBytesMax: 128,
        roundsLargeIntegers: true
    )
}

/// Why bytes are not one acceptable JSON document.
public struct JSONError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The kinds of refusal.
    public enum Code: String, Sendable, Hashable, CaseIterable {
        /// The document ends inside a value, or is empty.
        case unexpectedEnd
        /// A byte that cannot stand here.
        case unexpectedByte
        /// The document begins with a byte order mark.
        case byteOrderMark
        /// Something follows the value.
        case trailingBytes
        /// A string is not valid UTF-8.
        case invalidUTF8
        /// A control character stands unescaped in a string.
        case controlCharacter
        /// An escape sequence that JSON does not know.
        case invalidEscape
        /// Half of a surrogate pair.
        case loneSurrogate
        /// A number that the grammar does not know, such as `01` or `1.`.
        case invalidNumber
        /// A number too large, too small or too long to be kept.
        case numberOutOfRange
        /// More than ``JSONLimits/depthMax`` levels.
        case depthExceeded
        /// An object names a member twice.
        case duplicateKey
    }

    /// The kind of refusal.
    public let code: Code
    /// Where, in bytes from the start of the document.
    public let offset: Int
    /// The value in which it happened, as a JSON pointer (RFC 6901).
    public internal(set) var pointer: String

    init(_ code: Code, at offset: Int, pointer: String = "") {
        self.code = code
        self.offset = offset
        self.pointer = pointer
    }

    /// The same error, seen from the container of the value in which it happened.
    func inside(_ component: String) -> JSONError {
        JSONError(code, at: offset, pointer: component + pointer)
    }

    /// A sentence for the sender of the document.
    public var message: String {
        switch code {
        case .unexpectedEnd: "the document ends too early"
        case .unexpectedByte: "unexpected character"
        case .byteOrderMark: "a byte order mark is not allowed"
        case .trailingBytes: "unexpected characters after the value"
        case .invalidUTF8: "the text is not valid UTF-8"
        case .controlCharacter: "control characters must be escaped"
        case .invalidEscape: "unknown escape sequence"
        case .loneSurrogate: "a surrogate without its other half"
        case .invalidNumber: "malformed number"
        case .numberOutOfRange: "the number is out of range"
        case .depthExceeded: "nested too deeply"
        case .duplicateKey: "the member occurs twice"
        }
    }

    /// Message and place.
    public var description: String {
        "\(message) at byte \(offset)" + (pointer.isEmpty ? "" : " in \(pointer)")
    }
}

/// Components of JSON pointers (RFC 6901).
enum JSONPointer {
    /// A longer member name is cut, so that an error is never much larger than what it is about.
    static let nameCharactersMax = 128

    /// `/name`, with `~` and `/` escaped.
    static func component(_ name: String) -> String {
        var result = "/"
        for scalar in name.unicodeScalars.prefix(nameCharactersMax) {
            switch scalar {
            case "~": result += "~0"
            case "/": result += "~1"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return name.unicodeScalars.count > nameCharactersMax ? result + "…" : result
    }

    /// `/index`.
    static func component(_ index: Int) -> String { "/\(index)" }
}
