public import EventLoop
public import Tracing

/// A request that was answered.
public struct AnsweredRequest: Sendable {
    /// The route's index in ``Router/routes``; nil when no route was found.
    public let routeIndex: Int?
    /// The route's pattern; empty when no route was found.
    public let route: String
    /// The method.
    public let method: HTTPMethod
    /// The status of the answer.
    public let status: Int
    /// From the end of the head to the answer.
    public let duration: Duration
    /// Bytes of the request's body.
    public let requestBytes: Int
    /// Bytes of the answer's body; 0 for a stream.
    public let responseBytes: Int
    let id: RequestID
    /// Its place in a trace, recorded or not.
    public let trace: TraceParent
    /// Who asked, when that was found out.
    public let tenant: String?

    /// The request's id.
    public var requestID: String { id.text }
}

/// Why a connection was ended by the server.
public enum ConnectionCut: Sendable, Hashable, CaseIterable {
    /// What came was no acceptable HTTP.
    case malformed
    /// The head or the body took too long to arrive.
    case requestTimeout
    /// The handler took too long.
    case handlerTimeout
    /// The client did not take its answer.
    case writeStall
    /// An event stream's buffer was full.
    case streamOverflow
    /// There were too many connections.
    case refused
    /// A drain ran out of time.
    case drain
}

/// Told of what a server does; telemetry plugs in here.
@LoopActor
public protocol HTTPServerObserver: AnyObject {
    /// A request was answered.
    func answered(_ request: AnsweredRequest)
    /// A connection was ended by the server.
    func cut(_ reason: ConnectionCut)
}

/// What a server is doing now.
public struct HTTPServerReadings: Sendable, Hashable {
    /// Open connections, those included that are only being turned away.
    public internal(set) var connections = 0
    /// Handlers that run.
    public internal(set) var requestsInFlight = 0
    /// Bytes of bodies that are not complete yet.
    public internal(set) var bodyBytes = 0
    /// Connections taken so far.
    public internal(set) var accepted = 0
    /// Connections turned away so far.
    public internal(set) var refused = 0
    /// Requests answered so far.
    public internal(set) var answered = 0
}
