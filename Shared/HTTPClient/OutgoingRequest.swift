/// A request to another server.
public struct OutgoingRequest: Sendable {
    /// The request's method.
    public enum Method: String, Sendable, Hashable, CaseIterable {
        /// GET
        case get = "GET"
        /// HEAD
        case head = "HEAD"
        /// POST
        case post = "POST"
        /// PUT
        case put = "PUT"
        /// PATCH
        case patch = "PATCH"
        /// DELETE
        case delete = "DELETE"
    }

    /// How often the request may reach the peer.
    public enum Delivery: Sendable, Hashable {
        /// A connection may be reused; when the peer closes it before its first byte of answer, the
        /// request is sent again. For what is safe to repeat: reads, or an idempotency key.
        case repeatable
        /// At most once, on a connection that others may have used before. When the peer closes it before
        /// its first byte of answer that is an error, and the request may have been sent. For peers that
        /// keep unused connections for longer than ``HTTPClientConfiguration/onceConnectionLifetime``,
        /// and can be asked what they got.
        case once
        /// At most once, on a connection of its own, which nothing is ever sent on again. For peers of
        /// which neither is known.
        case onceAlone
    }

    /// Who chose the destination.
    public enum Destination: Sendable, Hashable {
        /// The operator: one of our own services.
        case trusted
        /// A tenant: https on port 443 to public addresses only, but for `allowHosts`.
        case guarded(allowHosts: AllowedHosts)
    }

    /// The default of ``responseLimit``: 1 MiB.
    public static let responseLimitDefault = 1 << 20

    /// The method.
    public var method: Method
    /// An absolute http or https URL in visible ASCII, without user and password.
    public var url: String
    /// Header fields; what belongs to framing and connection is refused (see ``HTTPClientError``).
    public var fields: [(name: String, value: String)]
    /// The body; its media type is what ``fields`` say.
    public var body: [UInt8]?
    /// Longest time for name, connection and TLS.
    public var connectTimeout: Duration = .seconds(3)
    /// Longest time from ``HTTPClient/send(_:)`` to the first byte of the answer.
    public var firstByteTimeout: Duration = .seconds(10)
    /// Longest time from ``HTTPClient/send(_:)`` to the last byte, waiting for a place included.
    public var totalTimeout: Duration = .seconds(20)
    /// Largest body of an answer, in bytes as they arrive (nothing is decompressed).
    public var responseLimit = OutgoingRequest.responseLimitDefault
    /// How often the peer may get it.
    public var delivery = Delivery.repeatable
    /// Who chose the destination.
    public var destination = Destination.trusted

    /// A request with the default deadlines and limits.
    public init(
        _ method: Method,
        _ url: String,
        fields: [(name: String, value: String)] = [],
        body: [UInt8]? = nil
    ) {
        self.method = method
        self.url = url
        self.fields = fields
        self.body = body
    }
}
