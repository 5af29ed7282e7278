/// The versions of HTTP that are spoken here.
public enum HTTPVersion: Sendable, Hashable {
    case http10, http11
}

/// How the end of a request's body is found.
public enum BodyFraming: Sendable, Hashable {
    /// There is no body.
    case none
    /// The body has this many bytes, at least one.
    case length(Int)
    /// The body comes in chunks.
    case chunked
}

/// The request line and the fields of a request, checked.
///
/// A class, so that handing it on costs one reference and not one for each of its parts.
public final class RequestHead: Sendable {
    /// The method.
    public let method: HTTPMethod
    /// The version that the client speaks.
    public let version: HTTPVersion
    /// The fields.
    public let fields: HTTPFields
    /// How the body ends.
    public let framing: BodyFraming
    /// Whether the client lets the connection be used again after the answer.
    public let keepsAlive: Bool
    /// Whether the client waits for `100 Continue` before it sends the body.
    public let expectsContinue: Bool

    let bytes: [UInt8]
    let targetRange: Range<Int>
    let pathRange: Range<Int>
    let queryRange: Range<Int>?
    let authorityRange: Range<Int>?

    /// The head that a scanner has read; `bytes` are those of the head.
    init(_ scanner: HeadScanner, entries: [HTTPFields.Entry], bytes: [UInt8]) {
        let facts = scanner.facts
        method = scanner.method
        version = scanner.version
        fields = HTTPFields(head: bytes, entries: entries)
        framing = facts.framing
        keepsAlive = facts.keepsAlive(version)
        expectsContinue = facts.expectsContinue && version == .http11 && framing != .none
        self.bytes = bytes
        targetRange = scanner.target
        pathRange = scanner.path
        queryRange = scanner.queryStart.map { $0..<scanner.target.upperBound }
        authorityRange = scanner.authority ?? facts.host
    }

    /// The target as it was sent.
    public var target: String { String(decoding: bytes[targetRange], as: UTF8.self) }

    /// The path as it was sent, percent-encoded; `*` for a request about the server itself.
    public var path: String {
        pathRange.isEmpty ? "/" : String(decoding: bytes[pathRange], as: UTF8.self)
    }

    /// The query as it was sent, percent-encoded and without `?`; nil when there is none.
    public var query: String? {
        queryRange.map { String(decoding: bytes[$0], as: UTF8.self) }
    }

    /// The bytes of ``path``.
    public var pathBytes: ArraySlice<UInt8> {
        pathRange.isEmpty ? [.slash] : bytes[pathRange]
    }

    /// The bytes of ``query``; empty when there is none.
    public var queryBytes: ArraySlice<UInt8> {
        queryRange.map { bytes[$0] } ?? []
    }

    /// The host and port that the request is for; nil only in HTTP/1.0.
    ///
    /// The authority of an absolute target wins over Host (RFC 9112 section 3.2.2).
    public var authority: String? {
        authorityRange.map { String(decoding: bytes[$0], as: UTF8.self) }
    }
}
