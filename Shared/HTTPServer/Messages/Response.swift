public import JSON

/// The answer to a request.
///
/// `Content-Length`, `Date`, `Connection`, `X-Request-Id`, `X-Content-Type-Options` and, unless the
/// handler set one, `Cache-Control: no-store` are the server's affair.
public struct Response: Sendable {
    /// What follows the head.
    public enum Body: Sendable {
        /// The whole body.
        case bytes([UInt8])
        /// Server-sent events, for as long as the stream is open.
        case stream(EventStream)
        /// A WebSocket, for as long as it is open; status 101.
        case webSocket(WebSocket)
    }

    /// The status code.
    public var status: Int
    /// The media type of the body; nil when there is none.
    public var contentType: String?
    /// Further fields.
    public var fields = HTTPFields()
    /// The body.
    public var body: Body

    /// An answer.
    public init(status: Int = 200, contentType: String?, body: Body) {
        self.status = status
        self.contentType = contentType
        self.body = body
    }

    /// JSON text that is there already.
    public static func json(_ status: Int = 200, bytes: [UInt8]) -> Response {
        Response(status: status, contentType: "application/json", body: .bytes(bytes))
    }

    /// A JSON tree.
    public static func json(_ status: Int, _ value: JSON) -> Response {
        json(status, bytes: value.serialized())
    }

    /// A JSON tree, with status 200.
    public static func json(_ value: JSON) -> Response {
        json(200, value)
    }

    /// What a writer has written.
    public static func json(_ status: Int, _ writer: JSONWriter) -> Response {
        json(status, bytes: writer.bytes)
    }

    /// What a writer has written, with status 200.
    public static func json(_ writer: JSONWriter) -> Response {
        json(200, writer)
    }

    /// Plain text.
    public static func text(_ text: String, status: Int = 200) -> Response {
        let body = Body.bytes(Array(text.utf8))
        return Response(status: status, contentType: "text/plain; charset=utf-8", body: body)
    }

    /// No body.
    public static func empty(_ status: Int = 204) -> Response {
        Response(status: status, contentType: nil, body: .bytes([]))
    }

    /// Server-sent events from `stream`.
    public static func events(_ stream: EventStream) -> Response {
        Response(contentType: "text/event-stream", body: .stream(stream))
    }

    /// Sets a field, replacing all of its name.
    public mutating func setField(_ name: String, _ value: String) {
        fields[name] = value
    }

    /// The same answer with a field more.
    public func withField(_ name: String, _ value: String) -> Response {
        var copy = self
        copy.setField(name, value)
        return copy
    }

    /// The bytes of the body; empty for a stream.
    public var bytes: [UInt8] {
        guard case .bytes(let bytes) = body else { return [] }
        return bytes
    }
}
