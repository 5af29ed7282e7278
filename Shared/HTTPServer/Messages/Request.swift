public import EventLoop
public import FoundationEssentials
public import JSON
public import Tracing

/// A whole request: head and body are in, the route is known.
///
/// Two references: a handler's every suspension keeps it, so that a large value would make each of
/// these cost more memory than the request itself.
public struct Request: Sendable {
    let message: Message
    var admission: Admission?

    /// What came over the wire, and where it was led.
    final class Message: Sendable {
        let head: RequestHead
        let body: [UInt8]
        let query: QueryParameters
        let peer: SocketAddress
        let id: RequestID
        let parameters: PathParameters
        let traceparent: TraceParent
        let route: RouteEntry
        let received: MonotonicTime

        @LoopActor
        init(
            _ progress: RequestInProgress,
            _ route: RouteEntry,
            _ parameters: PathParameters,
            query: QueryParameters,
            peer: SocketAddress
        ) {
            head = progress.head
            body = progress.body
            id = progress.id
            traceparent = progress.traceparent
            received = progress.received
            self.query = query
            self.peer = peer
            self.parameters = parameters
            self.route = route
        }

        var isHead: Bool { head.method == .head }
    }

    /// What the pipeline found out on the way to the handler.
    final class Admission: Sendable {
        let principal: Principal?
        let idempotencyKey: String?
        let bodyHash: [UInt8]

        init(_ principal: Principal?, idempotencyKey: String? = nil, bodyHash: [UInt8] = []) {
            self.principal = principal
            self.idempotencyKey = idempotencyKey
            self.bodyHash = bodyHash
        }
    }

    /// What the server found out about the request.
    public var context: RequestContext { RequestContext(request: self) }
    /// The method; GET also for a HEAD request, whose answer is cut by the server.
    public var method: HTTPMethod { message.isHead ? .get : message.head.method }
    /// The target as it was sent.
    public var target: String { message.head.target }
    /// The path as it was sent, percent-encoded.
    public var path: String { message.head.path }
    /// The parameters of the query, decoded.
    public var query: QueryParameters { message.query }
    /// The fields.
    public var fields: HTTPFields { message.head.fields }
    /// The bytes of the first field of this name, as they were sent.
    public func fieldBytes(of name: String) -> ArraySlice<UInt8>? {
        message.head.fields.valueBytes(of: name)
    }
    /// The body; empty when there is none.
    public var body: [UInt8] { message.body }
    /// The address of the other end, as text.
    public var peer: String { message.peer.host }
    /// The body as JSON.
    ///
    /// - Throws: `JSONError`, which the server answers with 400 when the handler passes it on.
    public func json() throws(JSONError) -> JSON { try JSON(parsing: body) }
    /// The parts of the path that the route's pattern names.
    public var parameters: PathParameters { message.parameters }
}

/// What the server found out about a request.
public struct RequestContext: Sendable {
    let request: Request

    /// The values of the pattern's parameters.
    public var parameters: PathParameters { request.message.parameters }
    /// This request's place in its trace: pass it on to whatever is called.
    public var traceparent: TraceParent { request.message.traceparent }
    /// The pattern of the route.
    public var route: String { request.message.route.route.pattern }
    /// When the head was complete.
    public var received: MonotonicTime { request.message.received }
    /// Who asks; nil on an open route.
    public var principal: Principal? { request.admission?.principal }
    /// The caller's idempotency key, checked for form.
    public var idempotencyKey: String? { request.admission?.idempotencyKey }
    /// The SHA-256 of the body, to which the key is bound; empty without a key.
    public var bodyHash: [UInt8] { request.admission?.bodyHash ?? [] }

    /// The request's id: the caller's, or one made here.
    public var requestID: String { request.message.id.text }

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
    /// In UTF-8: of the path itself where nothing had to be decoded.
    let values: [ArraySlice<UInt8>]

    /// The value of the parameter `name`, which the route's pattern must have.
    public subscript(name: String) -> String {
        String(decoding: bytes(of: name), as: UTF8.self)
    }

    func bytes(of name: String) -> ArraySlice<UInt8> {
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
        guard let id = UUID(characters: parameters.bytes(of: name).span) else {
            throw Problem(status: 404, detail: "nothing has this id: ids are UUIDs")
        }
        return id
    }
}
