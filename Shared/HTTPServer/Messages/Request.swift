public import EventLoop
public import FoundationEssentials
public import JSON
public import Tracing

/// A whole request: head and body are in, the route is known.
///
/// Copying is cheap: everything that came over the wire is shared.
public struct Request: Sendable {
    let message: Message
    /// What the server found out about the request.
    public internal(set) var context: RequestContext

    /// What came over the wire.
    final class Message: Sendable {
        let head: RequestHead
        let body: [UInt8]
        let query: QueryParameters
        let peer: SocketAddress

        init(head: RequestHead, body: [UInt8], query: QueryParameters, peer: SocketAddress) {
            self.head = head
            self.body = body
            self.query = query
            self.peer = peer
        }
    }

    /// The method; GET also for a HEAD request, whose answer is cut by the server.
    public var method: HTTPMethod { context.isHead ? .get : message.head.method }
    /// The target as it was sent.
    public var target: String { message.head.target }
    /// The path as it was sent, percent-encoded.
    public var path: String { message.head.path }
    /// The parameters of the query, decoded.
    public var query: QueryParameters { message.query }
    /// The fields.
    public var fields: HTTPFields { message.head.fields }
    /// The body; empty when there is none.
    public var body: [UInt8] { message.body }
    /// The address of the other end, as text.
    public var peer: String { message.peer.host }
    /// The body as JSON.
    ///
    /// - Throws: `JSONError`, which the server answers with 400 when the handler passes it on.
    public func json() throws(JSONError) -> JSON { try JSON(parsing: body) }
    /// The parts of the path that the route's pattern names.
    public var parameters: PathParameters { context.parameters }
}

/// What the server found out about a request.
public struct RequestContext: Sendable {
    let id: RequestID
    let isHead: Bool
    /// The values of the pattern's parameters.
    public let parameters: PathParameters
    /// This request's place in its trace: pass it on to whatever is called.
    public let traceparent: TraceParent
    /// The pattern of the route.
    public let route: String
    /// When the head was complete.
    public let received: MonotonicTime
    /// Who asks; nil on an open route.
    public internal(set) var principal: Principal?
    /// The caller's idempotency key, checked for form.
    public internal(set) var idempotencyKey: String?
    /// The SHA-256 of the body, to which the key is bound; empty without a key.
    public internal(set) var bodyHash: [UInt8] = []

    /// The request's id: the caller's, or one made here.
    public var requestID: String { id.text }

    /// Who asks.
    ///
    /// - Throws: `Problem.unauthorized` on a route that is open to everybody.
    public func requirePrincipal() throws(Problem) -> Principal {
        guard let principal else { throw .unauthorized() }
        return principal
    }
}

/// The values of a pattern's parameters, percent-decoded.
public struct PathParameters: Sendable, Hashable {
    let names: [String]
    let values: [String]

    /// The value of the parameter `name`, which the route's pattern must have.
    public subscript(name: String) -> String {
        guard let index = names.firstIndex(of: name) else {
            preconditionFailure("the route's pattern has no parameter {\(name)}")
        }
        return values[index]
    }
}

extension Request {
    /// The id in the path.
    ///
    /// - Throws: 404 when it is no UUID: nothing has such an id.
    public func id(_ name: String = "id") throws(Problem) -> UUID {
        guard let id = UUID(text: parameters[name]) else {
            throw Problem(status: 404, detail: "nothing has this id: ids are UUIDs")
        }
        return id
    }
}
