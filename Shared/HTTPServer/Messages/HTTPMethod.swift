/// A request method: a token, compared exactly (RFC 9110 section 9.1).
public enum HTTPMethod: Sendable, Hashable {
    case get, head, post, put, patch, delete, options, trace, connect
    /// A well-formed method that this server does not know, as it was sent.
    case other(String)

    /// The method that `name` spells; the comparison is exact, so `get` is another method.
    public init(_ name: String) {
        self = Self.known.first { $0.name == name } ?? .other(name)
    }

    /// The method as it stands in a request line.
    public var name: String {
        switch self {
        case .get: "GET"
        case .head: "HEAD"
        case .post: "POST"
        case .put: "PUT"
        case .patch: "PATCH"
        case .delete: "DELETE"
        case .options: "OPTIONS"
        case .trace: "TRACE"
        case .connect: "CONNECT"
        case .other(let name): name
        }
    }

    /// The methods that have a case of their own.
    public static let known: [HTTPMethod] = [
        .get, .head, .post, .put, .patch, .delete, .options, .trace, .connect,
    ]
}

extension HTTPMethod: CustomStringConvertible {
    /// The method's name.
    public var description: String { name }
}

extension HTTPMethod {
    /// The method spelt by `bytes[range]`, which must hold token bytes only.
    ///
    /// The bytes are packed into one word, so that a known method costs no string.
    init(token bytes: Span<UInt8>, _ range: Range<Int>) {
        var word: UInt64 = 0
        if range.count <= 8 {
            for index in range { word = word &<< 8 | UInt64(bytes[index]) }
        }
        switch word {
        case 0x47_4554: self = .get
        case 0x4845_4144: self = .head
        case 0x504f_5354: self = .post
        case 0x50_5554: self = .put
        case 0x50_4154_4348: self = .patch
        case 0x4445_4c45_5445: self = .delete
        case 0x4f_5054_494f_4e53: self = .options
        case 0x54_5241_4345: self = .trace
        case 0x43_4f4e_4e45_4354: self = .connect
        default: self = .other(String(decoding: range.map { bytes[$0] }, as: UTF8.self))
        }
    }
}
