internal import EventLoop
public import JSON

/// Who may call a route.
public enum RouteAccess: Sendable {
    /// Anybody.
    case open
    /// A key of this role or a higher one; never a service.
    case role(Role)
    /// A key of this role or a higher one, and our services.
    case roleOrService(Role)
    /// Our services only.
    case service
    /// Whoever this authenticator lets in: signatures of other people's servers.
    case custom(any Authenticator)
}

/// What `Idempotency-Key` does on a route.
public enum IdempotencyPolicy: Sendable {
    /// Nothing.
    case none
    /// The server stores the answer and replays it, when a key is sent.
    case replayed
    /// The handler stores a result of its own, in the transaction of the effect; the server checks
    /// the key's form and lets equal keys wait for each other.
    case inHandler
}

/// A parameter of a query.
public struct QueryParameter: Sendable {
    /// Its name.
    public let name: String
    /// What it means.
    public let description: String
    /// What its value looks like.
    public let schema: JSON
    /// Whether it must be there.
    public let isRequired: Bool

    /// A parameter.
    public init(
        _ name: String,
        _ description: String,
        schema: JSON = ["type": "string"],
        isRequired: Bool = false
    ) {
        self.name = name
        self.description = description
        self.schema = schema
        self.isRequired = isRequired
    }
}

/// What a route answers with a certain status.
public struct RouteResponse: Sendable {
    /// When it does.
    public let description: String
    /// What the body looks like; nil when there is none, or when it is not JSON.
    public let schema: JSON?
    /// The body's media type.
    public let contentType: String

    /// An answer.
    public init(
        _ description: String,
        schema: JSON? = nil,
        contentType: String = "application/json"
    ) {
        self.description = description
        self.schema = schema
        self.contentType = contentType
    }
}

/// One operation of a service: the table of these is the router and the published document.
public struct Route: Sendable {
    /// What answers; it runs on the loop and may wait, but never block.
    public typealias Handler = @LoopActor (Request) async throws -> Response

    /// What answers without ever waiting.
    public typealias ImmediateHandler = @LoopActor (Request) throws -> Response

    /// The largest body of a route that says nothing else.
    public static let bodyLimitDefault = 64 * 1024

    /// The method.
    public let method: HTTPMethod
    /// The path, with parameters in braces: `/v1/conversations/{id}/messages`.
    public let pattern: String
    /// Who may call it.
    public var access: RouteAccess
    /// Bytes that the body may have; more answers 413.
    public var bodyLimit = Route.bodyLimitDefault
    /// What `Idempotency-Key` does.
    public var idempotency = IdempotencyPolicy.none
    /// One line for the reference.
    public var summary: String
    /// More for the reference.
    public var description = ""
    /// The group in the reference.
    public var tag = ""
    /// What the body looks like; with it only `application/json` is taken, and with a member
    /// `required` in it a request without a length is answered 411.
    public var requestSchema: JSON?
    /// Media types that the body may have instead; empty means JSON where there is a schema, and
    /// anything where there is none.
    public var requestContentTypes: [String] = []
    /// The query's parameters; any other is answered 422.
    public var queryParameters: [QueryParameter] = []
    /// What it answers, problems of the server itself aside.
    public var responses: [Int: RouteResponse]
    /// What answers.
    public let handler: Handler
    /// The same without a task, on a route that is open and never waits.
    private(set) var immediateHandler: ImmediateHandler?

    /// A route.
    public init(
        _ method: HTTPMethod,
        _ pattern: String,
        access: RouteAccess,
        summary: String,
        description: String = "",
        tag: String = "",
        bodyLimit: Int = Route.bodyLimitDefault,
        idempotency: IdempotencyPolicy = .none,
        requestSchema: JSON? = nil,
        requestContentTypes: [String] = [],
        queryParameters: [QueryParameter] = [],
        responses: [Int: RouteResponse],
        handler: @escaping Handler
    ) {
        self.method = method
        self.pattern = pattern
        self.access = access
        self.summary = summary
        self.description = description
        self.tag = tag
        self.bodyLimit = bodyLimit
        self.idempotency = idempotency
        self.requestSchema = requestSchema
        self.requestContentTypes = requestContentTypes
        self.queryParameters = queryParameters
        self.responses = responses
        self.handler = handler
    }

    /// A route that is open to everybody and whose answer needs no waiting.
    ///
    /// It runs without a task, which is a twentieth of what such a request costs: for probes.
    public init(
        _ method: HTTPMethod,
        _ pattern: String,
        summary: String,
        tag: String = "",
        responses: [Int: RouteResponse],
        immediateHandler: @escaping ImmediateHandler
    ) {
        self.init(
            method,
            pattern,
            access: .open,
            summary: summary,
            tag: tag,
            responses: responses
        ) { try immediateHandler($0) }
        self.immediateHandler = immediateHandler
    }

    /// Whether a request must say how long its body is.
    var requiresBody: Bool { requestSchema?["required"]?.arrayValue?.isEmpty == false }

    /// The names in braces, in the order of the pattern.
    var parameterNames: [String] {
        RouteTrie.segments(of: pattern).compactMap { segment in
            guard case .parameter(let name) = segment else { return nil }
            return name
        }
    }
}
